package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// idempotencyKey is the header under which the cluster does a change once, however often it is sent.
const idempotencyKey = "Idempotency-Key"

// A read with consistency "stale" is answered without a quorum; lag tells in the answer how many seconds it may miss.
const (
	consistency = "X-Kilonova-Consistency"
	lag         = "X-Kilonova-Lag"
)

// How long requests are repeated while the cluster says that it cannot answer yet. It waits for a quorum itself, for as long as an election
// takes, before it says so; a change whose outcome is not known is worth more patience than a look.
const (
	patience     = 30 * time.Second
	readPatience = 3 * time.Second

	// silence is how long people are left without a word.
	silence = 2 * time.Second
)

// patient repeats requests that the cluster answers with 503, as it does while it elects a leader, or with 429, when it has more to
// do than it can. Changes carry a key, so that one whose outcome was unknown is not done twice.
type patient struct {
	next  http.RoundTripper
	notes io.Writer // is told once that there is something to wait for
	told  atomic.Bool
}

// limit is how long a request is repeated. A login changes nothing.
func limit(req *http.Request) time.Duration {
	if isRead(req) || isLogin(req) {
		return readPatience
	}
	return patience
}

func isLogin(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/auth/tokens") }

// later tells whether an answer says that the request may do better in a moment. Whoever is told 429 for a login has guessed too often.
func later(req *http.Request, res *http.Response) bool {
	return res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusTooManyRequests && !isLogin(req)
}

func isRead(req *http.Request) bool {
	return req.Method == http.MethodGet || req.Method == http.MethodHead
}

// announce says, unless the answer comes soon, that the cluster is being waited for. Call the result when it came. Uploads
// are not waited for: they tell their progress.
func (p *patient) announce(req *http.Request) (answered func()) {
	if _, repeatable := rewound(req); !repeatable {
		return func() {}
	}
	said := make(chan struct{})
	timer := time.AfterFunc(silence, func() {
		defer close(said)
		if p.told.CompareAndSwap(false, true) {
			fmt.Fprintf(p.notes, "The cluster has not answered for %s; waiting, since it may be electing a leader.\n", silence)
		}
	})
	return func() {
		if !timer.Stop() {
			<-said
		}
	}
}

// RoundTrip sends a request. A body that can be read only once is sent only once.
func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if !isRead(req) && req.Header.Get(idempotencyKey) == "" {
		req.Header.Set(idempotencyKey, uuid.NewString())
	}
	if sized, ok := req.Body.(interface{ Size() int64 }); ok {
		req.ContentLength = sized.Size() // the server can then refuse what is too large before it is sent
	}
	begin := time.Now()
	defer p.announce(req)()
	for {
		res, err := p.next.RoundTrip(req)
		if err != nil || !later(req, res) || time.Since(begin) > limit(req) {
			return res, err
		}
		again, ok := rewound(req)
		if !ok {
			return res, nil
		}
		drain(res.Body)
		if err := sleep(req.Context(), retryAfter(res)); err != nil {
			return nil, err
		}
		req = again
	}
}

// rewound is the same request with its body at the beginning.
func rewound(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	again := req.Clone(req.Context())
	again.Body = body
	return again, true
}

// maxRetryAfter bounds what a server may make us wait at once.
const maxRetryAfter = 5 * time.Second

func retryAfter(res *http.Response) time.Duration {
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		return time.Second
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

// drain lets the connection be used again.
func drain(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, maxErrorBody))
	body.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
