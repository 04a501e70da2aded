package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest/admission"
)

// The headers that carry request IDs. OpenStack's services differ in case only, which HTTP ignores.
const (
	RequestIDHeader        = "X-Openstack-Request-Id"
	ComputeRequestIDHeader = "X-Compute-Request-Id"
)

// exchange is what is remembered of one request while it is served. It belongs to the goroutine that serves it.
type exchange struct {
	service   string
	requestID string // ours, req-<uuid>
	globalID  string // the client's own, for the log only; "" when it sent none
	log       *slog.Logger
	header    http.Header // of the response
	control   *http.ResponseController

	caller  *Caller
	view    *cluster.View // taken for this request, or holding what it changed
	digest  cluster.Hash  // of the body, once decoded
	changes int           // how many were proposed

	waited time.Duration // for the cluster, and for a seat

	crowd *Crowd          // that let the request in; nil: none did
	seat  *admission.Seat // nil: none is needed
	shed  bool            // it was sent away
}

type exchangeKey struct{}

// exchangeOf finds what is remembered of r. A request that did not pass RequestID, as in a test of one handler, gets a
// throw-away one.
func exchangeOf(r *http.Request) *exchange {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{log: slog.Default(), header: http.Header{}}
}

// deadline bounds how long reading the request may still take; the zero time lifts the bound. Connections that know no
// deadlines, as a test's, go without.
func (x *exchange) deadline(t time.Time) {
	if x.control == nil {
		return
	}
	if err := x.control.SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		x.log.Debug("connection takes no deadline", "err", err, "request_id", x.requestID)
	}
}

// RequestIDOf is the ID that the response to r carries; "" outside RequestID.
func RequestIDOf(r *http.Request) string { return exchangeOf(r).requestID }

// Log is the logger for what happens while r is served; its lines carry the request ID.
func Log(r *http.Request) *slog.Logger {
	x := exchangeOf(r)
	return x.log.With("request_id", x.requestID)
}

// globalIDs are the request IDs that clients may bring. Anything else is not worth a line in the log.
var globalIDs = regexp.MustCompile(`^req-[0-9a-fA-F-]{36}$`)

// RequestID gives each request an ID, tells it in the response, and starts what is remembered of the request. The
// client's own ID is logged beside ours, never used instead. service is "compute", "identity", ...; below another
// RequestID it does nothing.
func RequestID(service string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
				next.ServeHTTP(w, r)
				return
			}
			x := &exchange{service: service, requestID: "req-" + NewUUID(), log: slog.Default(), header: w.Header(),
				control: http.NewResponseController(w)}
			if id := r.Header.Get(RequestIDHeader); globalIDs.MatchString(id) {
				x.globalID = id
			}
			w.Header().Set(RequestIDHeader, x.requestID)
			if service == "compute" {
				w.Header().Set(ComputeRequestIDHeader, x.requestID)
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
		})
	}
}

// NewUUID makes a random UUID in lower-case canonical form.
func NewUUID() string { return uuid.NewString() }

// NewHexID makes a random ID of 32 hexadecimal digits, as Keystone's are.
func NewHexID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	return hex.EncodeToString(b[:])
}

var uuids = regexp.MustCompile(`^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$`)

// IsUUID tells whether s looks like a UUID to OpenStack: case and dashes do not matter.
func IsUUID(s string) bool { return uuids.MatchString(s) }

// CanonicalUUID gives a UUID in the form that IDs have in the state; ok is false when it is none.
func CanonicalUUID(s string) (id string, ok bool) {
	if !IsUUID(s) {
		return "", false
	}
	h := strings.ToLower(strings.ReplaceAll(s, "-", ""))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], true
}
