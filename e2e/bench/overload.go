package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	overloadTime    = 5 * time.Second // of each offer
	overloadAnswer  = 10 * time.Second
	maxAcceptedTail = 5000 // ms, p99
	minKeptShare    = 0.5  // of the creates per second at saturation, when twice as many are offered
)

// offers are multiples of what saturates the cluster.
var offers = []float64{0.5, 1, 2, 4}

// measureOverload finds how many creates a second the cluster does when as many clients as usual ask one after the other. Then it offers
// multiples of that at a steady rate, whatever the answers are, and looks at how requests are answered.
func measureOverload(ctx context.Context, b *bench) error {
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	s, err := t.stage(ctx)
	if err != nil {
		return err
	}
	steady := newLoad(t.admin, t.urls())
	defer steady.close()
	if _, err := steady.run(ctx, s, creators); err != nil { // opens the connections
		return err
	}
	took, err := steady.run(ctx, s, b.creates)
	if err != nil {
		return err
	}
	saturated := float64(b.creates) / took.Seconds()
	b.add(figure{Name: "overload, creates when saturated", Unit: "/s", Values: []float64{saturated}})
	for _, times := range offers {
		w, err := startWatch(b.dir, t.pids())
		if err != nil {
			return err
		}
		o := newOffer(t, steady)
		for range b.runs {
			if err := t.waitActive(ctx); err != nil {
				return err
			}
			o.make(ctx, s, times*saturated)
		}
		o.report(b, times, saturated, w.stop())
	}
	return t.waitActive(ctx)
}

// offer is a rate of requests, and how they were answered, run by run.
type offer struct {
	town  *town
	names *load
	http  *http.Client

	mu       sync.Mutex
	accepted []float64 // ms, of the present run
	refused  int
	lost     int
	why      error // that the first of them was not answered

	rate, median, tail, share, silent []float64 // of the runs
}

func newOffer(t *town, names *load) *offer {
	transport := t.admin.at("").http.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2 = true // few connections carry all: what is measured are requests, not handshakes
	return &offer{town: t, names: names, http: &http.Client{Transport: transport, Timeout: overloadAnswer}}
}

// make offers so many creates a second for a while and waits for all answers.
func (o *offer) make(ctx context.Context, s *scene, perSecond float64) {
	o.accepted, o.refused, o.lost = nil, 0, 0
	var wg sync.WaitGroup
	urls := o.town.urls()
	start := time.Now()
	n := int(perSecond * overloadTime.Seconds())
	for i := range n {
		due := start.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() { o.ask(ctx, urls[i%len(urls)], s.server(fmt.Sprintf("bench-%d", o.names.names.Add(1)), 1)) })
	}
	wg.Wait()
	all := time.Since(start).Seconds()
	slices.Sort(o.accepted)
	o.rate = append(o.rate, float64(len(o.accepted))/all)
	o.share = append(o.share, 100*float64(o.refused)/float64(n))
	o.silent = append(o.silent, float64(o.lost))
	if len(o.accepted) > 0 {
		o.median, o.tail = append(o.median, quantile(o.accepted, 0.5)), append(o.tail, quantile(o.accepted, 0.99))
	}
}

// ask sends one create and counts its answer. One that says neither yes nor when to come again is none.
func (o *offer) ask(ctx context.Context, url string, body any) {
	start := time.Now()
	status, again, err := o.post(ctx, url, body)
	took := millis(time.Since(start))
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil && status == http.StatusAccepted:
		o.accepted = append(o.accepted, took)
	case err == nil && again && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable):
		o.refused++
	default:
		if o.lost++; o.why == nil {
			o.why = cmp.Or(err, fmt.Errorf("status %d without Retry-After", status))
		}
	}
}

func (o *offer) post(ctx context.Context, url string, body any) (status int, again bool, err error) {
	content, err := json.Marshal(body)
	if err != nil {
		return 0, false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/compute/v2.1/servers", bytes.NewReader(content))
	if err != nil {
		return 0, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", o.town.admin.token)
	req.Header.Set("OpenStack-API-Version", microversion)
	res, err := o.http.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, false, err
	}
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	return res.StatusCode, err == nil && seconds > 0, nil
}

// report adds what the runs gave.
func (o *offer) report(b *bench, times, saturated float64, during machine) {
	o.http.CloseIdleConnections()
	if o.why != nil {
		b.note("%gx offered, not answered: %v", times, o.why)
	}
	name := func(what string) string { return fmt.Sprintf("overload, %gx offered, %s", times, what) }
	kept := 0.0
	if times >= 1 {
		kept = minKeptShare * saturated
	}
	b.add(
		figure{Name: name("accepted"), Unit: "/s", Values: o.rate, Limit: kept, AtLeast: true, During: during},
		figure{Name: name("median of the accepted"), Unit: "ms", Values: o.median, During: during},
		figure{Name: name("p99 of the accepted"), Unit: "ms", Values: o.tail, Limit: maxAcceptedTail, During: during},
		figure{Name: name("sent away with Retry-After"), Unit: "%", Values: o.share, During: during},
		figure{Name: name("not answered"), Values: o.silent, Limit: 0.5, During: during},
	)
}
