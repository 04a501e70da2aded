package identity

import (
	"net"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/recent"
)

const (
	// freeFailures is how often in a row a client may fail to log in as one user before it is made to wait.
	freeFailures = 10
	// failureEvery is how long it then waits for each further try.
	failureEvery = 6 * time.Second

	rememberedClients = 20000
)

var errSlowDown = &rest.HTTPError{Status: http.StatusTooManyRequests, Message: "Too many failed authentications. Try again later."}

// limiter slows down the guessing of secrets. It counts failures for each user and client address, so that nobody can lock
// another one out from elsewhere.
type limiter struct {
	clients *recent.Map[client, *rate.Limiter]
}

// client is an account as tried from an address.
type client struct{ account, address string }

func newLimiter() *limiter {
	return &limiter{clients: recent.New[client, *rate.Limiter](rememberedClients)}
}

// clientOf names who tries, by the connection: headers can be made up.
func clientOf(r *http.Request, account string) client {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return client{account: account, address: host}
}

// allow refuses a client that failed too often.
func (l *limiter) allow(c client, now time.Time) error {
	if lim, ok := l.clients.Get(c); ok && lim.TokensAt(now) < 1 {
		return errSlowDown
	}
	return nil
}

// failed counts a failure.
func (l *limiter) failed(c client, now time.Time) {
	l.clients.OrPut(c, func() *rate.Limiter { return rate.NewLimiter(rate.Every(failureEvery), freeFailures) }).AllowN(now, 1)
}

// passed forgets a client's failures.
func (l *limiter) passed(c client) { l.clients.Drop(c) }
