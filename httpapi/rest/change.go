package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

const (
	// IdempotencyKeyHeader lets a client repeat a request without doing it twice.
	IdempotencyKeyHeader = "Idempotency-Key"

	// ConsistencyHeader with the value "stale" asks for this node's latest view, however old.
	ConsistencyHeader = "X-Kilonova-Consistency"

	// IndexHeader says which log index a stale reply shows, LagHeader for how many seconds this node had not heard
	// that it is up to date; without it, it has not since it started.
	IndexHeader = "X-Kilonova-Index"
	LagHeader   = "X-Kilonova-Lag"

	// quorumWait is how long a request waits for the cluster, in all that it asks, before it is answered with 503. Clients are
	// promised an answer within 5 seconds.
	quorumWait = 4500 * time.Millisecond

	// quorumLeast is what each question gets all the same: a request may ask much and wait little each time.
	quorumLeast = 250 * time.Millisecond

	maxIdempotencyKey = 255
	maxUpdateTries    = 5
)

// Lagger is a Backend that knows how far behind its local view may be.
type Lagger interface {
	// Lag is how long ago this node last knew itself up to date; below zero, it has not since it started.
	Lag() time.Duration
}

// Change proposes an op and waits until it is applied here. A refusal is returned as a *cluster.Error; Unavailable means
// that the outcome is unknown. Result.IDs names what was made, which is not what op says when the request was a
// repetition under the same Idempotency-Key.
func Change(r *http.Request, b Backend, op cluster.Op) (cluster.Result, error) {
	x := exchangeOf(r)
	c := cluster.Command{ID: cluster.RequestID(NewUUID()), Time: cluster.At(time.Now()), Op: op}
	if key := r.Header.Get(IdempotencyKeyHeader); key != "" {
		if len(key) > maxIdempotencyKey {
			return cluster.Result{}, cluster.Errorf(cluster.Invalid, "%s is longer than %d characters.", IdempotencyKeyHeader, maxIdempotencyKey)
		}
		c.ID, c.Digest = attempt(r, x, key, x.changes), requestDigest(r, x)
	}
	ctx, done := x.patience(r.Context())
	res, err := b.Propose(ctx, c)
	done()
	if err == nil && res.Err != nil {
		err = res.Err
	}
	if cluster.CodeOf(err) != cluster.Stale { // not remembered by the state: the same change is proposed again
		x.changes++
	}
	if err == nil {
		x.view = b.Local() // Propose promises that this holds the change
	}
	return res, err
}

// patience bounds a question to the cluster by what is left of the request's time. Call done when it was answered.
func (x *exchange) patience(ctx context.Context) (bounded context.Context, done func()) {
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, max(quorumWait-x.waited, quorumLeast))
	return bounded, func() {
		cancel()
		x.waited += time.Since(start)
	}
}

// Update changes something that is in the state already. decide reads a view and gives the op; when another change came
// between, it is asked again with a newer view. An op that is nil changes nothing.
func Update(r *http.Request, b Backend, decide func(*cluster.View) (cluster.Op, error)) (cluster.Result, error) {
	for try := 1; ; try++ {
		view, err := View(r, b)
		if err != nil {
			return cluster.Result{}, err
		}
		op, err := decide(view)
		if err != nil || op == nil {
			return cluster.Result{}, err
		}
		res, err := Change(r, b, op)
		if err == nil || cluster.CodeOf(err) != cluster.Stale || try == maxUpdateTries {
			return res, err
		}
		exchangeOf(r).view = nil
	}
}

// Repeats tells whether a request is the repetition of one whose first change the view remembers. What that made must not be held against the
// repetition, which is answered with what came of it. Another request under the same key is none. Decode the body before.
func Repeats(r *http.Request, view *cluster.View) bool {
	key := r.Header.Get(IdempotencyKeyHeader)
	x := exchangeOf(r)
	return key != "" && view.Remembers(attempt(r, x, key, 0), requestDigest(r, x))
}

// attempt names a change by what stays the same when the client repeats the request: who, what, its key, and which
// change of the request it is, from 0.
func attempt(r *http.Request, x *exchange, key string, change int) cluster.RequestID {
	who := ""
	if x.caller != nil {
		who = string(x.caller.User.ID) + "\x00" + string(x.caller.ProjectID())
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{who, r.Method, r.URL.Path, key, strconv.Itoa(change)}, "\x00")))
	return cluster.RequestID("key-" + hex.EncodeToString(sum[:]))
}

// requestDigest tells different requests under the same key apart. It is taken of what the client sent, since the op holds
// IDs and times that differ between repetitions.
func requestDigest(r *http.Request, x *exchange) cluster.Hash {
	h := sha256.New()
	h.Write([]byte(r.Method + "\x00" + r.URL.Path + "\x00" + r.URL.RawQuery + "\x00"))
	h.Write(x.digest[:])
	return cluster.Hash(h.Sum(nil))
}

// BindDigest tells Change what else a request consists of, for bodies that Decode does not read.
func BindDigest(r *http.Request, h cluster.Hash) { exchangeOf(r).digest = h }

// View gives what the request may read: everything acknowledged before it began and what it changed itself. A GET or HEAD
// with "X-Kilonova-Consistency: stale" is given this node's latest view, and the reply says how old; anything else is not,
// lest a token that was revoked elsewhere could still change something. Unavailable without a quorum.
func View(r *http.Request, b Backend) (*cluster.View, error) {
	x := exchangeOf(r)
	if x.view != nil {
		return x.view, nil
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if reads && asksStale(r) {
		x.view = b.Local()
		x.header.Set(IndexHeader, strconv.FormatUint(x.view.Index(), 10))
		if lag := lagOf(b); lag >= 0 {
			x.header.Set(LagHeader, strconv.FormatFloat(lag.Seconds(), 'f', 3, 64))
		}
		return x.view, nil
	}
	ctx, done := x.patience(r.Context())
	v, err := b.Read(ctx)
	done()
	if err != nil {
		return nil, err
	}
	x.view = v
	return v, nil
}

func asksStale(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get(ConsistencyHeader), "stale")
}

// lagOf is below zero when nobody knows.
func lagOf(b Backend) time.Duration {
	if l, ok := b.(Lagger); ok {
		return l.Lag()
	}
	return -1
}
