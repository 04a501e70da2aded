package rest

import (
	"cmp"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// Errors writes errors in the body shape of one OpenStack service.
type Errors interface {
	// Fail replies with err. Errors without a code are logged and shown as a fault of ours.
	Fail(w http.ResponseWriter, r *http.Request, err error)
}

// The error shapes of the services that clients know.
var (
	NovaErrors     Errors = novaErrors{}     // {"badRequest": {"code": 400, "message": ...}}; also Cinder's
	KeystoneErrors Errors = keystoneErrors{} // {"error": {"code": 400, "message": ..., "title": "Bad Request"}}
	GlanceErrors   Errors = glanceErrors{}   // webob's, as JSON or HTML by the Accept header
	NeutronErrors  Errors = neutronErrors{}  // {"NeutronError": {"type": ..., "message": ..., "detail": ""}}
)

// unauthorized is what every service says without a valid token, whatever was wrong with it.
const unauthorized = "The request you have made requires authentication."

// fail does what all shapes share: it decides, logs faults of ours and sets the headers.
func fail(w http.ResponseWriter, r *http.Request, err error, overrides map[cluster.Code]int) failure {
	f := explain(err, overrides)
	if f.status >= http.StatusInternalServerError && f.status != http.StatusNotImplemented && f.code != cluster.Unavailable {
		Log(r).Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	switch f.status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", cmp.Or(seconds(f.later), retryAfterSeconds))
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Keystone uri="`+BaseURL(r)+`/identity/v3"`)
	}
	return f
}

// seconds is a time for Retry-After; "" for none.
func seconds(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

type keystoneBody struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Title   string `json:"title"`
}

// replyUnauthorized is the 401 of every service but Glance.
func replyUnauthorized(w http.ResponseWriter) {
	Reply(w, http.StatusUnauthorized, map[string]keystoneBody{"error": {
		Code: http.StatusUnauthorized, Message: unauthorized, Title: "Unauthorized",
	}})
}

type novaErrors struct{}

// novaNames are Nova's names of its faults.
var novaNames = map[int]string{
	http.StatusBadRequest:            "badRequest",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "itemNotFound",
	http.StatusMethodNotAllowed:      "badMethod",
	http.StatusConflict:              "conflictingRequest",
	http.StatusRequestEntityTooLarge: "overLimit",
	http.StatusUnsupportedMediaType:  "badMediaType",
	http.StatusTooManyRequests:       "overLimit",
	http.StatusNotImplemented:        "notImplemented",
	http.StatusServiceUnavailable:    "serviceUnavailable",
}

// Fail replies as Nova does.
func (novaErrors) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := fail(w, r, err, nil)
	switch {
	case f.status == http.StatusUnauthorized:
		replyUnauthorized(w)
		return
	case f.code == cluster.TooLarge:
		// A filter in front of Nova refuses these: no version headers, and webob's body.
		for _, h := range []string{"OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "Vary"} {
			w.Header().Del(h)
		}
		replyWebob(w, r, f.status, f.message, true)
		return
	case f.message == "":
		f.message = "Unexpected API Error. Please report it with the request ID " + RequestIDOf(r) + "."
	}
	name, ok := novaNames[f.status]
	if !ok {
		name = "computeFault"
	}
	replyTyped(w, f.status, "application/json; charset=UTF-8", map[string]any{
		name: struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{f.status, f.message},
	})
}

type keystoneErrors struct{}

const keystoneMalformed = "Expecting to find valid JSON in request body. The server could not comply with the request since it is " +
	"either malformed or otherwise incorrect. The client is assumed to be in error."

// Fail replies as Keystone does.
func (keystoneErrors) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := fail(w, r, err, nil)
	w.Header().Set("Vary", "X-Auth-Token")
	switch {
	case f.status == http.StatusUnauthorized:
		replyUnauthorized(w)
		return
	case isMalformed(err):
		f.message = keystoneMalformed
	case f.message == "":
		f.message = "An unexpected error prevented the server from fulfilling your request. Please report it with the request ID " +
			RequestIDOf(r) + "."
	}
	Reply(w, f.status, map[string]keystoneBody{"error": {Code: f.status, Message: f.message, Title: http.StatusText(f.status)}})
}

type neutronErrors struct{}

// neutronStatuses are the statuses in which Neutron differs.
var neutronStatuses = map[cluster.Code]int{cluster.OverQuota: http.StatusConflict}

// neutronTypes are the types of errors that name none.
var neutronTypes = map[cluster.Code]string{
	cluster.Invalid:     "HTTPBadRequest",
	cluster.Forbidden:   "PolicyNotAuthorized",
	cluster.NotFound:    "HTTPNotFound",
	cluster.Conflict:    "HTTPConflict",
	cluster.Stale:       "RevisionNumberConstraintFailed",
	cluster.OverQuota:   "OverQuota",
	cluster.NoRoom:      "IpAddressGenerationFailure",
	cluster.TooLarge:    "HTTPRequestEntityTooLarge",
	cluster.Unavailable: "HTTPServiceUnavailable",
}

// Fail replies as Neutron does.
func (neutronErrors) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := fail(w, r, err, neutronStatuses)
	switch {
	case f.status == http.StatusUnauthorized:
		replyUnauthorized(w)
		return
	case isMalformed(err):
		f.message = "Body contains invalid data"
	case f.message == "":
		f.message = "Request Failed: internal server error while processing your request. Its ID is " + RequestIDOf(r) + "."
	}
	if f.kind == "" {
		f.kind = neutronTypes[f.code]
	}
	if f.kind == "" {
		f.kind = "HTTP" + strings.ReplaceAll(http.StatusText(f.status), " ", "")
	}
	Reply(w, f.status, map[string]any{"NeutronError": struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Detail  string `json:"detail"`
	}{f.kind, f.message, ""}})
}

type glanceErrors struct{}

// glanceStatuses are the statuses in which Glance differs.
var glanceStatuses = map[cluster.Code]int{cluster.OverQuota: http.StatusRequestEntityTooLarge}

const glanceUnauthorized = "This server could not verify that you are authorized to access the document you requested. Either you " +
	"supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials required."

// Fail replies as Glance does: HTML, unless the client prefers JSON.
func (glanceErrors) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := fail(w, r, err, glanceStatuses)
	switch {
	case f.status == http.StatusUnauthorized:
		f.message = glanceUnauthorized
	case f.message == "":
		f.message = "The server has either erred or is incapable of performing the requested operation. The request ID is " +
			RequestIDOf(r) + "."
	}
	replyWebob(w, r, f.status, f.message, prefersJSON(r.Header.Get("Accept")))
}

// replyWebob writes an error in the shape that webob gives it.
func replyWebob(w http.ResponseWriter, r *http.Request, status int, message string, asJSON bool) {
	title := http.StatusText(status)
	if asJSON {
		Reply(w, status, struct {
			Message string `json:"message"`
			Code    string `json:"code"`
			Title   string `json:"title"`
		}{message + "<br /><br />\n\n\n", statusLine(status), title})
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	writeText(w, "<html>\n <head>\n  <title>"+statusLine(status)+"</title>\n </head>\n <body>\n  <h1>"+statusLine(status)+
		"</h1>\n  "+html.EscapeString(message)+"<br /><br />\n\n\n\n </body>\n</html>")
}

// NotFoundPage replies with webob's 404, as Nova and Glance do for paths and methods that they do not have.
func NotFoundPage(w http.ResponseWriter, r *http.Request) {
	replyWebob(w, r, http.StatusNotFound, "The resource could not be found.", prefersJSON(r.Header.Get("Accept")))
}
