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
