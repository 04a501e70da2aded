package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// Observer is told of every request that was answered.
type Observer interface {
	// Observe is called once per request, from the goroutine that served it.
	Observe(service, method string, status int, took time.Duration)
}

// Service is what stands around each service's router.
type Service struct {
	Name     string // "compute", "identity", ...
	Errors   Errors
	Log      *slog.Logger // nil: slog's default
	Observer Observer     // nil: nobody is told
	Crowd    *Crowd       // nil: everybody is let in at once
}

// probeService is the name under which a node answers what looks after it.
const probeService = "probe"

// Probes stands around what tells how a node is: a Service whose requests have seats of their own and leave no line in the log.
func Probes(c *Crowd, next http.Handler) http.Handler {
	return RequestID(probeService)(c.Admit(KeystoneErrors)(next))
}

// Wrap puts RequestID, AccessLog, the Crowd and Recover around a router.
func (s Service) Wrap(next http.Handler) http.Handler {
	return RequestID(s.Name)(AccessLog(s.Log, s.Observer)(s.Crowd.Admit(s.Errors)(Recover(s.Errors)(next))))
}

// AccessLog writes a line for each request: changes and errors at level info, reads at debug. It never holds a header, a
// query or a body, where secrets could be. It stands below RequestID.
func AccessLog(log *slog.Logger, observer Observer) func(http.Handler) http.Handler {
	if log == nil {
		log = slog.Default()
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := exchangeOf(r)
			x.log = log
			start := time.Now()
			rec := &recorder{ResponseWriter: w}
			defer func() {
				took := time.Since(start)
				logAccess(r, x, rec, took)
				if observer != nil {
					observer.Observe(x.service, r.Method, rec.code(), took)
				}
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

func logAccess(r *http.Request, x *exchange, rec *recorder, took time.Duration) {
	level := slog.LevelInfo
	if x.shed { // a flood must not become one of lines
		level = slog.LevelDebug
	} else if (r.Method == http.MethodGet || r.Method == http.MethodHead) && rec.code() < http.StatusInternalServerError {
		level = slog.LevelDebug
	}
	if !x.log.Enabled(r.Context(), level) {
		return
	}
	args := []any{"service", x.service, "method", r.Method, "path", r.URL.Path, "status", rec.code(), "bytes", rec.bytes,
		"took", took, "request_id", x.requestID, "from", r.RemoteAddr}
	if x.globalID != "" {
		args = append(args, "global_request_id", x.globalID)
	}
	if x.caller != nil {
		args = append(args, "user", x.caller.User.ID, "project", x.caller.ProjectID())
	}
	x.log.Log(r.Context(), level, "request", args...)
}

// Recover turns a panic of a handler into a 500, logged with its stack. A reply that was begun is cut off instead, so
// that the client does not take half of it for all.
func Recover(errs Errors) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := &recorder{ResponseWriter: w}
			defer func() {
				p := recover()
				if p == nil {
					return
				}
				if p == http.ErrAbortHandler {
					panic(p)
				}
				Log(r).Error("handler panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if rec.status != 0 {
					panic(http.ErrAbortHandler)
				}
				errs.Fail(w, r, fmt.Errorf("serve %s %s: %v", r.Method, r.URL.Path, p))
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// recorder notes what is sent through it.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the status.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController and websockets reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// code is what was or will be sent.
func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
