package main

import (
	"context"
	"io"
	"net/http"
	"strconv"
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

// patient repeats requests that the cluster answers with 503, as it does while it elects a leader. Changes carry a
// key, so that one whose outcome was unknown is not done twice.
type patient struct {
	next  http.RoundTripper
	limit time.Duration // how long it goes on
}

// RoundTrip sends a request. A body that can be read only once is sent only once.
func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if req.Method != http.MethodGet && req.Method != http.MethodHead && req.Header.Get(idempotencyKey) == "" {
		req.Header.Set(idempotencyKey, uuid.NewString())
	}
	if sized, ok := req.Body.(interface{ Size() int64 }); ok {
		req.ContentLength = sized.Size() // the server can then refuse what is too large before it is sent
	}
	begin := time.Now()
	for {
		res, err := p.next.RoundTrip(req)
		if err != nil || res.StatusCode != http.StatusServiceUnavailable || time.Since(begin) > p.limit {
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
