package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// Three of five machines are lost for good. Of the two that are left one was off for a while and lacks what was acknowledged meanwhile: it may not
// become the cluster, and says which node should. On that one, all is there that it had heard of. The lost may not come back, and a new machine joins.
func TestRecover_OnTheMostAdvancedSurvivor(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 5)
	s.must(s.WaitVoters(s.ctx, 5))
	ahead, behind, lost := s.Nodes[0], s.Nodes[1], s.Nodes[2:]
	p := s.supply(ahead)
	ids := map[string]string{}
	create := func(name string) { ids[s.create(ahead, p.createRequest(name))] = name }
	create("before")
	s.eventually("it runs", memberLimit, func() error { return s.sameServers(behind, ids) })
	s.must(behind.Daemon.Kill())
	s.eventually("the others go on", memberLimit, func() error { _, err := s.servers(ahead); return err })
	for i := range 5 {
		create(fmt.Sprintf("meanwhile-%d", i))
	}
	_, err := s.servers(ahead) // it has heard of them
	s.must(err)
	for _, n := range lost {
		s.must(n.Host.PowerCut())
	}
	s.nobodyLeads(ahead) // else it gives the other one what that lacks
	s.must(behind.StartDaemon())

	s.eventually("the one that lacks something refuses", memberLimit, func() error {
		_, err := behind.Kilonova(s.ctx, "node", "recover")
		if says := "Node " + ahead.Name(); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "has more of the log") {
			return fmt.Errorf("it says: %w", err)
		}
		return nil
	})
	if _, err := behind.Kilonova(s.ctx, "node", "recover", "--yes"); err == nil || !strings.Contains(err.Error(), "has more of the log") {
		t.Fatalf("recover on the node that lacks something: %v", err)
	}
	s.recovers(ahead)
	for _, n := range []*cloud.Node{ahead, behind} {
		s.eventually("every server is known to "+n.Name(), memberLimit, func() error { return s.lists(n, ids) })
	}
	create("afterwards")

	back := lost[0]
	s.must(back.PowerOn(s.ctx))
	s.ends(back, removedWords)
	for _, n := range lost {
		s.kilonova(ahead, "node", "remove", "--force", n.Name())
	}
	fresh, err := s.AddNode(s.ctx)
	s.must(err)
	s.must(s.Join(s.ctx, fresh))
	s.must(s.WaitVoters(s.ctx, 3))
	s.must(s.lists(fresh, ids))
}

// recovers has a survivor become the cluster, after it has said what it would do.
func (s *stage) recovers(n *cloud.Node) {
	s.t.Helper()
	s.nobodyLeads(n)
	if out := s.kilonova(n, "node", "recover", "--yes"); !strings.Contains(out, "is GIVEN UP for good") {
		s.t.Errorf("the plan gives nobody up: %s", out)
	}
	s.eventually("the survivor leads", memberLimit, func() error {
		members, err := s.Members(s.ctx, n)
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.Name == n.Name() && m.Raft == "leader" {
				return nil
			}
		}
		return fmt.Errorf("the members are %+v", members)
	})
}

// nobodyLeads waits until a node might become the cluster, if its operator said so.
func (s *stage) nobodyLeads(n *cloud.Node) {
	s.t.Helper()
	s.eventually("it is clear that nobody leads", memberLimit, func() error {
		out, err := n.Kilonova(s.ctx, "node", "recover")
		if err == nil || !strings.Contains(err.Error(), "nothing was done") {
			return fmt.Errorf("recover without --yes: %s, %w", out, err)
		}
		return nil
	})
}

// lists checks that a node lists just these servers, by ID and name.
func (s *stage) lists(via *cloud.Node, want map[string]string) error {
	all, err := s.servers(via)
	if err != nil {
		return err
	}
	for _, v := range all {
		if want[v.ID] != v.Name {
			return fmt.Errorf("%s lists server %s (%s), which nobody was promised", via.Name(), v.Name, v.ID)
		}
	}
	if len(all) != len(want) {
		return fmt.Errorf("%s lists %d servers of %d", via.Name(), len(all), len(want))
	}
	return nil
}

// Two hypervisors and a witness are a cluster that loses any one of the three, and goes on: what was asked for is promised, and whoever comes back
// hears of it.
func TestWitness_AnyOneOfThreeIsLost(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 2)
	w := s.host()
	w.Witness = true
	s.must(s.Join(s.ctx, w))
	s.must(s.WaitVoters(s.ctx, 3))
	p := s.supply(s.Nodes[0])
	ids := map[string]string{}
	for _, gone := range s.Nodes {
		s.must(gone.Host.PowerCut())
		via := s.other(gone.Name())
		var made struct{ Server struct{ ID string } }
		name := "without " + gone.Name()
		r := p.createRequest(name)
		r.Header = map[string]string{"Idempotency-Key": name}
		s.eventually("the others promise a server", memberLimit, func() error {
			return s.Do(s.ctx, via, r, &made, http.StatusAccepted)
		})
		ids[made.Server.ID] = name
		s.must(gone.PowerOn(s.ctx))
		s.must(gone.WaitReady(s.ctx))
		s.must(s.lists(gone, ids))
		s.must(s.WaitVoters(s.ctx, 3))
	}
	for _, n := range s.Nodes {
		s.eventually("every server runs, says "+n.Name(), memberLimit, func() error { return s.sameServers(n, ids) })
	}
}

// The gossip key and the authority are replaced while one node is off. Everybody who looks is told for whom that waits; when the node is back, both go
// on to their end without another word, and it takes part as before. What the former authority signed lets nobody in any more.
func TestRotation_WaitsForWhoIsOff(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 3)
	first, off := s.Nodes[0], s.Nodes[2]
	p := s.supply(first)
	former := s.with(s.Nodes[1], "peer.pem", alpnHTTP)
	if answer, err := s.askPeerPort(first, former.Clone()); err != nil || answer == "" {
		t.Fatalf("a member is not answered: %v", err)
	}
	s.must(off.Host.PowerCut())
	s.eventually("the node counts as down", memberLimit, func() error { return s.hasState(first, off.Name(), "down") })
	for _, begin := range [][]string{{"cluster", "rotate-gossip-key"}, {"cluster", "rotate-ca", "--keep", "0s"}} {
		if out := s.kilonova(first, begin...); !strings.Contains(out, "waits for "+off.Name()+" (down)") || !strings.Contains(out, "goes on by itself") {
			t.Errorf("%v says: %s", begin, out)
		}
	}
	for _, key := range []string{"gossip", "authority"} {
		want := "The " + key + " key is being replaced: 1/2 every node takes the new one, too: 2 of 3; waits for " + off.Name() + " (down)."
		out, err := first.Host.Run(s.ctx, "sh", "-c", "$0 cluster check --data-dir $1; $0 node list --data-dir $1 2>&1", s.binary(), first.Host.DataDir())
		s.must(err)
		if strings.Count(out, want) != 2 {
			t.Errorf("check and list together do not say twice %q: %s", want, out)
		}
	}
	s.create(first, p.createRequest("meanwhile"))

	s.must(off.PowerOn(s.ctx))
	s.eventually("both keys are replaced", memberLimit, func() error {
		if out := s.kilonova(first, "cluster", "show"); strings.Count(out, "replaced ") != 2 {
			return fmt.Errorf("cluster show says %s", out)
		}
		return nil
	})
	s.must(s.Export(first))
	for _, n := range s.Nodes {
		s.must(n.WaitReady(s.ctx))
		s.eventually("gossip and Raft have it", memberLimit, func() error { return s.hasState(n, off.Name(), "up") })
		s.eventually("the former authority's certificate is refused", memberLimit, func() error {
			if answer, err := s.askPeerPort(n, former.Clone()); err == nil || answer != "" {
				return fmt.Errorf("%s answers it: %q", n.Name(), answer)
			}
			return nil
		})
		if answer, err := s.askPeerPort(n, s.with(s.Nodes[1], "peer.pem", alpnHTTP)); err != nil || answer == "" {
			t.Errorf("%s does not answer the present one: %v", n.Name(), err)
		}
	}
	s.create(off, p.createRequest("afterwards"))
	if out := s.kilonova(first, "cluster", "check"); strings.Contains(out, "being replaced") {
		t.Errorf("it goes on: %s", out)
	}
}

func (s *stage) hasState(via *cloud.Node, name, state string) error {
	members, err := s.Members(s.ctx, via)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Name == name && m.State == state {
			return nil
		}
	}
	return fmt.Errorf("%s is not %s: %+v", name, state, members)
}

// binary is the program under test, by a path that its hosts have, too.
func (s *stage) binary() string {
	s.t.Helper()
	path, err := filepath.Abs(os.Getenv(binaryEnv))
	s.must(err)
	return path
}
