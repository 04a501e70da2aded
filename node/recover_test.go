package node

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/httpapi/peer"
)

// Of three voters two are gone for good. The one that is left agrees to nothing, until it is recovered: then it leads alone, as the same node, and takes
// changes. The two come back, together, and would be a quorum of what they know: the survivor tells them that they were given up, and both end.
func TestRecover_TheLastNodeGoesOnAndTheLostStayOut(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2, n3 := l.join(2, n1), l.join(3, n1)
	l.until("three voters", func() bool { return n2.votersUp(3) && n3.votersUp(3) })
	if err := n3.ask(http.MethodPost, "/recovery", nil, nil); err == nil || !strings.Contains(err.Error(), "leads") {
		t.Errorf("a cluster that has a leader: %v", err)
	}
	if err := errors.Join(n1.stop(), n2.stop()); err != nil {
		t.Fatal(err)
	}
	var plan clusterapi.RecoveryPlan
	l.until("nobody leads", func() bool { return n3.ask(http.MethodGet, "/recovery", nil, &plan) == nil })
	if len(plan.Others) != 2 || !plan.Others[0].Lost || !plan.Others[1].Lost {
		t.Errorf("the plan is %+v", plan)
	}
	if err := n3.ask(http.MethodPost, "/recovery", nil, nil); err != nil {
		t.Fatal(err)
	}
	var nodes map[string]clusterapi.Node
	l.until("the survivor leads", func() bool {
		var err error
		nodes, err = n3.nodes()
		return err == nil && nodes["n3"].Part == "leader"
	})
	if nodes["n1"].Status != "given up" || nodes["n2"].Status != "given up" || nodes["n1"].Part != "none" {
		t.Errorf("the lost are %+v and %+v", nodes["n1"], nodes["n2"])
	}
	var said safeBuffer
	for _, back := range []**running{&n1, &n2} {
		cfg := (*back).cfg
		cfg.Log = slog.New(slog.NewTextHandler(&said, nil))
		*back = l.run(cfg)
	}
	for _, back := range []*running{n1, n2} {
		select {
		case <-back.done:
		case <-time.After(30 * time.Second):
			t.Fatal("a node that was given up goes on running")
		}
		if err := back.stop(); !errors.Is(err, errRemoved) {
			t.Errorf("a node that was given up ended with %v", err)
		}
	}
	if words := said.String(); strings.Contains(words, "msg=serving") {
		t.Errorf("those that were given up begin to serve before they ask: %s", words)
	}
	for _, name := range []string{"n1", "n2"} {
		if err := n3.ask(http.MethodDelete, "/nodes/"+name, nil, nil); err != nil {
			t.Errorf("remove what is left of %s: %v", name, err)
		}
	}
	l.token(n3, nil)
}

// safeBuffer holds what several nodes log.
type safeBuffer struct {
	mu  sync.Mutex
	all strings.Builder
}

// Write implements io.Writer.
func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// String is all that was written.
func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// Whom a survivor finds decides whether it may go on: not beside a leader, not where a quorum answers, and not with less of the log than another one has.
func TestPlanRecovery_OnlyTheMostAdvancedSurvivorWithoutAQuorum(t *testing.T) {
	node := func(id string) *cluster.Node {
		return &cluster.Node{ID: cluster.NodeID(id), Name: "host-" + id, Address: "192.0.2.1"}
	}
	end := func(term, last uint64) peer.Survey {
		return peer.Survey{LogEnd: cluster.LogEnd{LastTerm: term, Last: last}}
	}
	base := func() scene {
		return scene{
			self: node("a"), own: end(3, 100),
			voters:  map[cluster.NodeID]bool{"a": true, "b": true, "c": true, "d": true, "e": true},
			others:  []*cluster.Node{node("b"), node("c"), node("d"), node("e"), node("f"), node("g")},
			answers: map[cluster.NodeID]peer.Survey{"b": end(3, 99), "f": end(3, 100)},
		}
	}
	plan, err := planRecovery(base())
	if err != nil {
		t.Fatal(err)
	}
	lost := ""
	for _, o := range plan.Others {
		if o.Lost {
			lost += string(o.ID)
		}
	}
	if lost != "cde" {
		t.Errorf("given up are %q", lost)
	}
	for says, change := range map[string]func(*scene){
		"host-b (192.0.2.1) has more":   func(s *scene) { s.answers["b"] = end(3, 101) },
		"host-f (192.0.2.1) has more":   func(s *scene) { s.answers["f"] = end(4, 7) }, // without a vote, and yet
		"3 of 5 voters answer":          func(s *scene) { s.answers["c"] = end(1, 1) },
		"Node c leads":                  func(s *scene) { s.own.Leader = "c" },
		"follows c, which leads":        func(s *scene) { x := s.answers["b"]; x.Leader = "c"; s.answers["b"] = x },
		"has nothing of the cluster":    func(s *scene) { s.self = nil },
		"1 of 1 voters answer, which i": func(s *scene) { s.voters = map[cluster.NodeID]bool{"a": true} },
	} {
		s := base()
		change(&s)
		if _, err := planRecovery(s); cluster.CodeOf(err) != cluster.Conflict || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
}
