package rest

import (
	"net/http"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// TokenHeader carries the caller's token.
const TokenHeader = "X-Auth-Token"

// Verifier tells whose token it is. Code Unauthorized when it is nobody's, or no longer valid. The Caller is a new one.
type Verifier interface {
	Verify(view *cluster.View, token string, now time.Time) (*Caller, error)
}

// Authenticate lets only requests with a valid token through, and tells handlers their Caller. Tokens are judged against
// the view that the rest of the request sees, so a revocation holds on every node from its acknowledgement on.
func Authenticate(b Backend, v Verifier, errs Errors) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, err := authenticate(r, b, v)
			if err != nil {
				errs.Fail(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), caller)))
		})
	}
}

func authenticate(r *http.Request, b Backend, v Verifier) (*Caller, error) {
	token := r.Header.Get(TokenHeader)
	if token == "" {
		return nil, cluster.Errorf(cluster.Unauthorized, unauthorized)
	}
	view, err := View(r, b)
	if err != nil {
		return nil, err
	}
	caller, err := v.Verify(view, token, time.Now())
	if err != nil {
		return nil, err
	}
	x := exchangeOf(r)
	caller.RequestID = x.requestID
	x.caller = caller
	if x.crowd != nil {
		x.crowd.learn(token, caller)
	}
	return caller, nil
}
