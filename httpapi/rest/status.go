package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// retryAfterSeconds is how long a client is asked to wait when the outcome of its request is unknown or the service
// is not ready: about an election.
const retryAfterSeconds = "2"

// statuses is the one table from error codes to HTTP.
var statuses = map[cluster.Code]int{
	cluster.Invalid:      http.StatusBadRequest,
	cluster.Unauthorized: http.StatusUnauthorized,
	cluster.Forbidden:    http.StatusForbidden,
	cluster.NotFound:     http.StatusNotFound,
	cluster.Conflict:     http.StatusConflict,
	cluster.Stale:        http.StatusConflict,
	cluster.OverQuota:    http.StatusForbidden, // as Nova; Neutron and Glance have their own
	cluster.NoRoom:       http.StatusConflict,
	cluster.TooLarge:     http.StatusRequestEntityTooLarge,
	cluster.Unsupported:  http.StatusNotImplemented,
	cluster.Unavailable:  http.StatusServiceUnavailable,
	cluster.Internal:     http.StatusInternalServerError,
}

// StatusOf gives the HTTP status of an error code.
func StatusOf(code cluster.Code) int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// HTTPError is an error whose status, or whose type in the service's own words, the table of codes cannot give. Its
// message is shown to the client as it is, even with a status of 500 and above.
type HTTPError struct {
	Status  int
	Code    cluster.Code // for CodeOf-like questions and for metrics; may be empty
	Message string
	Type    string // the error's type in Neutron's bodies, for instance "NetworkInUse"; others ignore it

	RetryAfter time.Duration // with 429 and 503: when to come again, in whole seconds; 0: as with all others
}

// Error gives the message.
func (e *HTTPError) Error() string { return e.Message }

// failure is an error as a client will see it.
type failure struct {
	status  int
	code    cluster.Code
	message string // empty when the error is ours: the shape has its own words for that
	kind    string // HTTPError.Type
	later   time.Duration
}

// explain decides how a client sees err. overrides are the statuses in which a service differs from the table.
func explain(err error, overrides map[cluster.Code]int) failure {
	var he *HTTPError
	if errors.As(err, &he) {
		return failure{status: he.Status, code: he.Code, message: he.Message, kind: he.Type, later: he.RetryAfter}
	}
	var ce *cluster.Error
	switch {
	case errors.As(err, &ce):
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		ce = cluster.Errorf(cluster.Unavailable, "The cluster did not answer in time.")
	default:
		return failure{status: http.StatusInternalServerError, code: cluster.Internal}
	}
	status, ok := overrides[ce.Code]
	if !ok {
		status = StatusOf(ce.Code)
	}
	f := failure{status: status, code: ce.Code, message: ce.Message}
	if ce.Code == cluster.Internal {
		f.message = ""
	}
	return f
}
