package e2e

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// answerLimit is within how long a node without a quorum promises to answer; slack is what a busy machine may add.
const (
	answerLimit = 5 * time.Second
	slack       = 4 * time.Second
)

// Two of three nodes are cut off from the third. It acknowledges nothing and reads nothing that it cannot be sure of, and says so in time; what
// it remembers it gives to those who ask for that, labelled. The two go on. When the cut ends, what was asked of the lonely node was either
// done once or not at all, and asking again under the same key settles it.
func TestNoQuorum_NothingIsAcknowledgedAndEveryoneIsAnswered(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 3)
	p := s.supply(s.Nodes[0])
	before := s.create(s.Nodes[0], p.createRequest("before"))
	s.waitStatus(s.Nodes[0], before, "ACTIVE", memberLimit)

	for _, lonely := range []*cloud.Node{s.follower(), s.leader()} {
		s.run("of a node that "+s.part(lonely), func(s *stage) { s.lonely(lonely, p) })
	}
}

func (s *stage) part(n *cloud.Node) string {
	if s.leader() == n {
		return "leads"
	}
	return "follows"
}

// lonely cuts one node off, tries everything on it, and puts it back.
func (s *stage) lonely(n *cloud.Node, p supplies) {
	for _, other := range s.Nodes {
		if other != n {
			s.must(s.Lab.Drop(s.ctx, n.Host, other.Host))
			s.must(s.Lab.Drop(s.ctx, other.Host, n.Host))
		}
	}
	s.eventually("the node notices", memberLimit, func() error {
		return s.Do(s.ctx, n, cloud.Request{Path: "/compute/v2.1/servers"}, nil, http.StatusServiceUnavailable)
	})
	write := p.createRequest("asked of the lonely " + n.Name())
	write.Header = map[string]string{"Idempotency-Key": "lonely " + n.Name()}
	var asking sync.WaitGroup
	for _, r := range []cloud.Request{write, {Path: "/compute/v2.1/servers/detail"}, {Path: "/image/v2/images"}, {Path: "/network/v2.0/ports"}, {Path: "/identity/v3/users"}} {
		asking.Go(func() { s.isPutOff(n, r) })
	}
	asking.Wait()
	stale, err := s.Ask(s.ctx, n, cloud.Request{Path: "/compute/v2.1/servers", Header: map[string]string{"X-Kilonova-Consistency": "stale"}})
	s.must(err)
	if stale.Status != http.StatusOK || stale.Header.Get("X-Kilonova-Lag") == "" {
		s.t.Errorf("a stale read: %d, lag %q: %s", stale.Status, stale.Header.Get("X-Kilonova-Lag"), stale.Body)
	}
	var meanwhile string
	s.eventually("the others go on", memberLimit, func() error {
		var made struct{ Server struct{ ID string } }
		r := p.createRequest("meanwhile")
		r.Header = map[string]string{"Idempotency-Key": "meanwhile " + n.Name()}
		err := s.Do(s.ctx, s.other(n.Name()), r, &made, http.StatusAccepted)
		meanwhile = made.Server.ID
		return err
	})
	s.must(s.Lab.Heal(s.ctx))
	var settled string
	s.eventually("the lonely node is heard again", memberLimit, func() error {
		var made struct{ Server struct{ ID string } }
		err := s.Do(s.ctx, n, write, &made, http.StatusAccepted)
		settled = made.Server.ID
		return err
	})
	s.waitStatus(n, meanwhile, "ACTIVE", memberLimit)
	s.waitStatus(s.other(n.Name()), settled, "ACTIVE", memberLimit)
	all, err := s.servers(n)
	s.must(err)
	named := 0
	for _, v := range all {
		if v.Name == "asked of the lonely "+n.Name() {
			named++
		}
	}
	if named != 1 {
		s.t.Errorf("%d servers came of one request", named)
	}
}

// isPutOff asks a node without a quorum for something: it must say in time that it cannot know, and when to ask again.
func (s *stage) isPutOff(n *cloud.Node, r cloud.Request) {
	began := time.Now()
	a, err := s.Ask(s.ctx, n, r)
	if err != nil {
		s.t.Error(err)
		return
	}
	if took := time.Since(began); took > answerLimit+slack {
		s.t.Errorf("%s %s was answered after %s", a.Method, r.Path, took)
	}
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		s.t.Errorf("%s %s: %d, Retry-After %q: %s", a.Method, r.Path, a.Status, a.Header.Get("Retry-After"), a.Body)
	}
}
