package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// firstNewAddress is the last byte of the first address that a host moves to in these stories.
const firstNewAddress = 201

// The company renumbers its network: one machine after the other gets another address, the one that leads among them. Servers are created all the
// while, every machine is the same node afterwards, and the last one gets another host name as well.
func TestAddress_EveryNodeMovesInTurn(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 3)
	p := s.supply(s.Nodes[0])
	ids := map[string]string{}
	create := func(via *cloud.Node) {
		name := fmt.Sprintf("server-%d", len(ids))
		r := p.createRequest(name)
		r.Header = map[string]string{"Idempotency-Key": name}
		var made struct{ Server struct{ ID string } }
		s.eventually(name+" is promised", memberLimit, func() error { // not while who led has gone
			return s.Do(s.ctx, via, r, &made, http.StatusAccepted)
		})
		ids[made.Server.ID] = name
	}
	create(s.Nodes[0])
	before, err := s.Members(s.ctx, s.Nodes[0])
	s.must(err)
	for i, n := range s.Nodes {
		s.moves(n, byte(firstNewAddress+i))
		create(s.other(n.Name())) // while it is not sure that all know
		s.must(n.WaitReady(s.ctx))
		for _, via := range s.Nodes {
			s.eventually(via.Name()+" finds "+n.Name(), memberLimit, func() error { return s.isAt(via, n) })
		}
		create(n)
	}
	last := s.Nodes[2]
	s.must(last.Daemon.Stop(stopGrace))
	last.Flags = []string{"--name", "renamed"}
	s.must(last.StartDaemon())
	s.must(last.WaitReady(s.ctx))
	s.eventually("it is listed under its name", memberLimit, func() error { return s.isMember(s.Nodes[0], "renamed", last.Host.Address()) })
	for _, n := range s.Nodes {
		s.eventually("every server runs, says "+n.Name(), memberLimit, func() error { return s.sameServers(n, ids) })
	}
	after, err := s.Members(s.ctx, s.Nodes[0])
	s.must(err)
	known := map[string]bool{}
	for _, m := range before {
		known[m.ID] = true
	}
	for _, m := range after {
		if !known[m.ID] {
			t.Errorf("%s is another node than before", m.Name)
		}
	}
}

// stopGrace is how long a daemon may take to end by itself.
const stopGrace = 20 * time.Second

// moves gives a host another address, between the end of its daemon and its next start.
func (s *stage) moves(n *cloud.Node, last byte) {
	s.t.Helper()
	s.must(n.Daemon.Stop(stopGrace))
	word := []string{"--moved-from", n.Host.Address()}
	s.must(n.Host.Readdress(last))
	s.must(n.StartDaemon())
	s.ends(n, "is enrolled with --bind "+word[1])
	n.Flags = word
	s.must(n.StartDaemon())
	n.Flags = nil
}

// isAt checks that a node is known where its host is, is up and votes.
func (s *stage) isAt(via, n *cloud.Node) error { return s.isMember(via, n.Name(), n.Host.Address()) }

func (s *stage) isMember(via *cloud.Node, name, address string) error {
	members, err := s.Members(s.ctx, via)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Name == name && m.Address == address && m.State == "up" && (m.Raft == "voter" || m.Raft == "leader") {
			return nil
		}
	}
	return fmt.Errorf("the members are %+v", members)
}

// A machine with a guest gets another address, and later the two other machines are lost for good: the cluster is recovered on it. The guest counts on
// through both, in the same QEMU, and can be told what to do afterwards.
func TestOperations_GoOnWhileTheHostMoves(t *testing.T) {
	if !wholeProgramme() {
		t.Skip("make test-operations tells this")
	}
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 3})
	s.furnishOps(small)
	home := s.Nodes[2]
	l := s.begin("settled", home)
	before := l.told()
	qemu := s.qemus([]server{l.server})
	same := func(s *stage) {
		s.t.Helper()
		l.on(s).goesOn(before)
		if now := s.qemus([]server{l.server}); now[l.ID] != qemu[l.ID] {
			s.t.Errorf("its QEMU was %+v and is %+v", qemu[l.ID], now[l.ID])
		}
	}
	s.run("its host gets another address", func(s *stage) {
		s.moves(home, firstNewAddress)
		s.must(home.WaitReady(s.ctx))
		s.eventually("the others find it", memberLimit, func() error { return s.isAt(s.Nodes[0], home) })
		same(s)
	})
	s.run("the two other hosts are lost", func(s *stage) {
		s.must(s.Nodes[0].Host.PowerCut())
		s.must(s.Nodes[1].Host.PowerCut())
		s.recovers(home)
		l.via = home
		same(s)
		l.on(s).does("SHUTOFF", "stop", l.ID)
	})
}
