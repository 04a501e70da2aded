package rest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest/admission"
	"github.com/kilonova/kilonova/httpapi/rest/recent"
)

const (
	// promptBody is how long a request keeps its seat while its body is on the way.
	promptBody = 100 * time.Millisecond

	// knownTokens is of how many tokens it is remembered whose they are.
	knownTokens = 20000

	// Who is sent away is asked to come again after this time, or up to half as much later, so that not all come at once.
	comeAgain = 2 * time.Second
)

// What who is sent away is told. Clients may repeat the request as it is: nothing of it was done.
const (
	tooMuch = "Too many requests of this project, or of this address, are waiting. Nothing was done; try again later."
	tooBusy = "This node has more requests than it can serve soon. Nothing was done; try again later, or ask another node."
)

// Crowd lets requests in by their classes and by whom they are of: the project that a token is of, or the address that it comes
// from as long as the token is not known. All services of a node share one. It is safe for concurrent use.
type Crowd struct {
	seats *admission.Control
	known *recent.Map[[sha256.Size]byte, admission.Guest] // by token
}

// NewCrowd makes a Crowd with a node's limits.
func NewCrowd() *Crowd { return NewCrowdWith(admission.New(admission.Defaults())) }

// NewCrowdWith makes a Crowd with other limits.
func NewCrowdWith(c *admission.Control) *Crowd {
	return &Crowd{seats: c, known: recent.New[[sha256.Size]byte, admission.Guest](knownTokens)}
}

// Stats tells about each class.
func (c *Crowd) Stats() []admission.Stats { return c.seats.Stats() }

// Admit lets requests through as there are seats, and answers the others with 429 or 503. It stands below RequestID and AccessLog. A nil Crowd
// lets everybody in.
func (c *Crowd) Admit(errs Errors) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if c == nil {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := exchangeOf(r)
			class := classOf(x.service, r)
			start := time.Now()
			seat, err := c.seats.Enter(r.Context(), class, c.guest(r))
			x.waited += time.Since(start) // it is of the time within which the client is promised an answer
			if err != nil {
				x.shed = true
				errs.Fail(w, r, sentAway(err))
				return
			}
			defer seat.Leave()
			x.crowd, x.seat = c, seat
			if class == admission.Bytes { // while a client takes them, the node reads them
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(&leaving{ResponseWriter: w, seat: seat}, r)
		})
	}
}

// sentAway is what a client is told that was not let in.
func sentAway(err error) error {
	later := comeAgain + rand.N(comeAgain/2+1)
	switch {
	case errors.Is(err, admission.ErrLane):
		return &HTTPError{Status: http.StatusTooManyRequests, Code: cluster.Unavailable, Message: tooMuch, RetryAfter: later}
	case errors.Is(err, admission.ErrFull):
		return &HTTPError{Status: http.StatusServiceUnavailable, Code: cluster.Unavailable, Message: tooBusy, RetryAfter: later}
	default:
		return err // the client went away
	}
}

// classOf decides what seats a request needs.
func classOf(service string, r *http.Request) admission.Class {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	switch {
	case service == "identity" && r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/auth/tokens") || strings.HasSuffix(r.URL.Path, "/password")):
		return admission.Login
	case service == "image" && strings.HasSuffix(r.URL.Path, "/file"):
		return admission.Bytes
	case service == probeService:
		return admission.Probe
	case reads && asksStale(r):
		return admission.Local
	case reads:
		return admission.Read
	default:
		return admission.Write
	}
}

// guest tells whom a request is of, as far as that is known before its token is checked: a token that nobody has shown yet, forged or not, counts
// for the address.
func (c *Crowd) guest(r *http.Request) admission.Guest {
	if token := r.Header.Get(TokenHeader); token != "" {
		if g, ok := c.known.Get(sha256.Sum256([]byte(token))); ok {
			return g
		}
	}
	return admission.Guest{Lane: "from " + network(r.RemoteAddr)}
}

// learn remembers whose a token is that was found good.
func (c *Crowd) learn(token string, caller *Caller) {
	g := admission.Guest{Lane: "user " + string(caller.User.ID), Privileged: caller.Admin()}
	if caller.Project != nil {
		g.Lane = "project " + string(caller.Project.ID)
	}
	c.known.Put(sha256.Sum256([]byte(token)), g)
}

// network is the address of a client without its port, and of IPv6 the half that names a site: within it, anybody may have as many as they like.
func network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Unmap().Is4() {
		return host
	}
	site, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return site.String()
}

// readAll reads a body. If that does not come soon, the request's seat serves others meanwhile.
func (x *exchange) readAll(ctx context.Context, body io.Reader) ([]byte, error) {
	if x.seat == nil {
		return io.ReadAll(body)
	}
	slow := time.AfterFunc(promptBody, x.seat.Aside)
	b, err := io.ReadAll(body)
	if slow.Stop() {
		return b, err
	}
	start := time.Now()
	again := x.seat.Return(ctx)
	x.waited += time.Since(start)
	if again != nil {
		x.shed = true
		return nil, sentAway(again)
	}
	return b, err
}

// leaving gives a request's seat to the next one when its reply begins: from then on the client decides how long it takes.
type leaving struct {
	http.ResponseWriter
	seat *admission.Seat
}

// WriteHeader begins the reply.
func (w *leaving) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.seat.Leave()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the reply, too.
func (w *leaving) Write(b []byte) (int, error) {
	w.seat.Leave()
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController and websockets reach the connection.
func (w *leaving) Unwrap() http.ResponseWriter { return w.ResponseWriter }
