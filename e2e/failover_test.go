package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	burst        = 100 // creates in the story about losing the leader
	burstWorkers = 8
	insistLimit  = 2 * time.Minute // for one create, over all its repetitions
)

// outcome is what came of one create.
type outcome struct {
	id      string
	repeats int
	err     error
}

// A hundred servers are asked for, through all three nodes at once, and in the middle of it the leader's daemon is killed.
// Whoever got no 202 asks again, elsewhere, under the same Idempotency-Key. In the end there are a hundred servers: each one
// that was acknowledged, none twice; and asking for all of them once more under the same keys makes no more.
func TestLeaderKilledDuringAHundredCreates_EveryAcknowledgementIsHonouredOnce(t *testing.T) {
	s := newSimStage(t, 3)
	supplies := s.supply(s.follower())
	leader := s.leader()

	outcomes := s.createBurst(supplies, func(i int) {
		if i == burst/3 {
			s.must(leader.Daemon.Kill())
		}
	})
	acknowledged, repeats := map[string]string{}, 0
	for i, o := range outcomes {
		s.must(o.err)
		acknowledged[o.id] = burstName(i)
		repeats += o.repeats
	}
	if repeats == 0 {
		t.Error("no request was disturbed, so this test has shown nothing: was the leader killed too late?")
	}
	t.Logf("%d requests were repeated before they were acknowledged", repeats)

	for i, again := range s.createBurst(supplies, func(int) {}) {
		if again.err != nil || again.id != outcomes[i].id {
			t.Errorf("%s asked for again under its key: server %s, %v; want %s", burstName(i), again.id, again.err, outcomes[i].id)
		}
	}
	s.must(leader.Start(s.ctx)) // it finds its way back, and what it missed
	for _, n := range s.Nodes {
		s.eventually("every server runs, says "+n.Name(), time.Minute, func() error { return s.sameServers(n, acknowledged) })
	}
}

func burstName(i int) string { return fmt.Sprintf("burst-%03d", i) }

// createBurst asks for all the servers, several at a time. before is called before each request, in their order.
func (s *stage) createBurst(p supplies, before func(i int)) []outcome {
	outcomes := make([]outcome, burst)
	next := make(chan int)
	var workers sync.WaitGroup
	for range burstWorkers {
		workers.Go(func() {
			for i := range next {
				outcomes[i] = s.insist(i, p)
			}
		})
	}
	for i := range burst {
		before(i)
		next <- i
	}
	close(next)
	workers.Wait()
	return outcomes
}

// insist asks one node after the other for a server until it is acknowledged. No answer at all, or one that says that
// the outcome is unknown, is a reason to ask again; every other one is a broken promise.
func (s *stage) insist(i int, p supplies) (o outcome) {
	r := p.createRequest(burstName(i))
	r.Header = map[string]string{"Idempotency-Key": "the key of " + burstName(i)}
	for deadline := time.Now().Add(insistLimit); time.Now().Before(deadline); o.repeats++ {
		a, err := s.Ask(s.ctx, s.Nodes[(i+o.repeats)%len(s.Nodes)], r)
		if err != nil || a.Status == http.StatusServiceUnavailable || a.Status == http.StatusGatewayTimeout {
			time.Sleep(pollEvery)
			continue
		}
		if o.err = a.Want(http.StatusAccepted); o.err != nil {
			return o
		}
		var made struct{ Server struct{ ID string } }
		o.err = a.Into(&made)
		o.id = made.Server.ID
		return o
	}
	o.err = fmt.Errorf("create %s: not acknowledged within %s", burstName(i), insistLimit)
	return o
}

// sameServers compares what a node lists with servers' names by ID; all of them have to run.
func (s *stage) sameServers(via *cloud.Node, want map[string]string) error {
	all, err := s.servers(via)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, v := range all {
		switch {
		case want[v.ID] != v.Name:
			return fmt.Errorf("server %s is called %q, want %q", v.ID, v.Name, want[v.ID])
		case seen[v.ID]:
			return fmt.Errorf("server %s is listed twice", v.ID)
		case v.Status != "ACTIVE":
			return fmt.Errorf("server %s (%s) is %s: %s", v.ID, v.Name, v.Status, v.Fault.Message)
		}
		seen[v.ID] = true
	}
	if len(seen) != len(want) {
		return fmt.Errorf("%d servers are listed, want %d", len(seen), len(want))
	}
	return nil
}
