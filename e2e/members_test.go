package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/lab"
)

const memberLimit = 2 * time.Minute

// A cluster has been busy for so long that its log does not reach back to its beginning any more. A fourth node joins, is given a snapshot,
// and lists the same servers as the others.
func TestJoin_LateFromASnapshot(t *testing.T) {
	t.Parallel()
	const every, renames = 64, 200
	s := newSimStage(t, 3, "--snapshot-entries", fmt.Sprint(every))
	supplies := s.supply(s.Nodes[0])
	ids := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("early-%02d", i)
		ids[s.create(s.Nodes[i%3], supplies.createRequest(name))] = name
	}
	for i := range renames {
		for id := range ids { // any of them
			ids[id] = fmt.Sprintf("renamed-%03d", i)
			s.must(s.Do(s.ctx, s.Nodes[i%3], cloud.Request{
				Method: http.MethodPut, Path: "/compute/v2.1/servers/" + id, Body: map[string]any{"server": map[string]string{"name": ids[id]}},
			}, nil, http.StatusOK))
			break
		}
	}
	for _, n := range s.Nodes {
		s.eventually(n.Name()+" takes a snapshot", memberLimit, func() error { return s.hasSnapshot(n) })
	}

	late, err := s.AddNode(s.ctx)
	s.must(err)
	late.Flags = []string{"--snapshot-entries", "1000000"} // so that the one it has can only be the leader's
	s.must(s.Join(s.ctx, late))
	s.eventually("the late node has the leader's snapshot", memberLimit, func() error { return s.hasSnapshot(late) })
	for _, n := range s.Nodes {
		s.eventually("every server runs, says "+n.Name(), memberLimit, func() error { return s.sameServers(n, ids) })
	}
	s.must(late.Daemon.Kill())
	s.must(late.Start(s.ctx))
	s.must(s.sameServers(late, ids))
}

// hasSnapshot looks for a snapshot of the state on a host's disk.
func (s *stage) hasSnapshot(n *cloud.Node) error {
	dir, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "raft", "snapshots"))
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, "[0-9]*-[0-9]*-[0-9]*", "state.bin"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("no snapshot is in %s: %v", dir, err)
	}
	return nil
}

// ends waits for a daemon to end by itself, with an error that says why.
func (s *stage) ends(n *cloud.Node, why string) {
	s.t.Helper()
	select {
	case <-n.Daemon.Done():
	case <-time.After(memberLimit):
		s.t.Fatalf("the daemon of %s still runs after %s; it should have ended: %s", n.Name(), memberLimit, why)
	}
	if err := n.Daemon.Wait(s.ctx); err == nil {
		s.t.Errorf("the daemon of %s ended as if all were well", n.Name())
	}
	log, err := n.Daemon.Log()
	s.must(err)
	if !strings.Contains(log[max(0, len(log)-2000):], why) {
		s.t.Errorf("the last words of %s lack %q: %s", n.Name(), why, log[max(0, len(log)-2000):])
	}
}

// absent checks that a node's name is not listed.
func (s *stage) absent(name string) error {
	members, err := s.Members(s.ctx, s.Nodes[0])
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Name == name {
			return fmt.Errorf("%s is still listed: %+v", name, m)
		}
	}
	return nil
}

const removedWords = "this node was removed from the cluster"

// One node is removed while it runs, another one while it is down. Both end, also when they are started again, and say why; no token brings
// their identities back. A wiped machine joins as a new node.
func TestRemove_WhoWasRemovedMayNotComeBack(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 5)
	first, running, down := s.Nodes[0], s.Nodes[3], s.Nodes[4]

	s.run("one that is up is not removed by mistake", func(s *stage) {
		if _, err := first.Kilonova(s.ctx, "node", "remove", running.Name()); err == nil || !strings.Contains(err.Error(), "--force") {
			s.t.Errorf("removing a node that is up: %v; want an error that names --force", err)
		}
	})
	s.run("one that is up ends", func(s *stage) {
		_, err := first.Kilonova(s.ctx, "node", "remove", "--force", running.Name())
		s.must(err)
		s.ends(running, removedWords)
		s.must(s.absent(running.Name()))
		s.must(running.StartDaemon())
		s.ends(running, removedWords)
	})
	s.run("one that was down ends when it comes back", func(s *stage) {
		s.must(down.Daemon.Kill())
		s.eventually("the node counts as down", memberLimit, func() error {
			_, err := first.Kilonova(s.ctx, "node", "remove", down.Name())
			return err
		})
		s.must(s.absent(down.Name()))
		s.must(down.StartDaemon())
		s.ends(down, removedWords)
		s.must(s.absent(down.Name()))
	})
	s.run("no token brings it back", func(s *stage) {
		token, err := s.Token(s.ctx)
		s.must(err)
		if out, err := down.Enrol(s.ctx, first, token); err == nil {
			// The directory is enrolled, so there is nothing to do; running it must still be refused.
			s.t.Logf("join on the old directory says %q", out)
		}
		s.must(down.StartDaemon())
		s.ends(down, removedWords)
		s.must(s.absent(down.Name()))
	})
	s.run("a wiped machine joins as a new node", func(s *stage) {
		s.must(s.wipe(down))
		s.must(s.Join(s.ctx, down))
		s.must(s.WaitVoters(s.ctx, 3))
		if err := s.absent(down.Name()); err == nil {
			s.t.Error("the wiped machine joined and is not listed")
		}
	})
}

// wipe empties a host's data directory.
func (s *stage) wipe(n *cloud.Node) error {
	dir, err := n.Host.Path(n.Host.DataDir())
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Machines try to join with what they should not have. Each is told what is wrong, and the cluster stays as it was.
func TestJoin_WithoutTheRightIsRefused(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 1)
	first := s.Nodes[0]
	stranger := s.host()
	other := s.host() // of another cluster
	_, err := other.Init(s.ctx)
	s.must(err)
	s.must(other.StartDaemon())

	refused := func(what, token, want string) {
		s.t.Helper()
		out, err := stranger.Enrol(s.ctx, first, token)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("join with %s: %q, %v; want an error with %q", what, out, err, want)
		}
		if token != "" && strings.Contains(out, token) {
			t.Errorf("join with %s tells the token", what)
		}
	}
	refused("no token", "", "token")
	refused("garbage", "kn1.garbage", "token")
	expired, err := s.Token(s.ctx, "--ttl", "1s")
	s.must(err)
	time.Sleep(1500 * time.Millisecond)
	refused("an expired token", expired, "expired")
	var foreign string
	s.eventually("the other cluster makes a token", memberLimit, func() (err error) {
		foreign, err = other.Kilonova(s.ctx, "node", "token", "create")
		return err
	})
	refused("another cluster's token", strings.TrimSpace(foreign), "another")
	var made struct{ ID, Token string }
	s.must(s.Do(s.ctx, first, cloud.Request{Method: http.MethodPost, Path: "/cluster/v1/tokens", Body: map[string]string{"ttl": "10m"}}, &made, http.StatusCreated))
	if list := s.kilonova(first, "node", "token", "list"); !strings.Contains(list, made.ID) {
		t.Errorf("node token list lacks %s: %s", made.ID, list)
	}
	s.kilonova(first, "node", "token", "delete", made.ID)
	withdrawn := made.Token
	refused("a withdrawn token", withdrawn, "token")

	token, err := s.Token(s.ctx)
	s.must(err)
	second := s.host()
	out, err := second.Enrol(s.ctx, first, token)
	if err != nil {
		t.Fatalf("join with a good token: %s, %v", out, err)
	}
	refused("a used token", token, "used")
	if out, err := second.Enrol(s.ctx, first, token); err != nil {
		t.Errorf("join twice is not the same as once: %s, %v", out, err)
	}
	if out, err := other.Enrol(s.ctx, first, token); err == nil || !strings.Contains(out, "another") {
		t.Errorf("join with another cluster's data directory: %q, %v", out, err)
	}
	if members, err := s.Members(s.ctx, first); err != nil || len(members) != 2 {
		t.Errorf("the cluster has %+v, %v; want the first and the second node", members, err)
	}
}

// host makes a host on which nothing runs.
func (s *stage) host() *cloud.Node {
	s.t.Helper()
	n, err := s.AddHost(lab.HostOptions{DiskMiB: 512})
	s.must(err)
	return n
}

func (s *stage) kilonova(on *cloud.Node, args ...string) string {
	s.t.Helper()
	out, err := on.Kilonova(s.ctx, args...)
	s.must(err)
	return out
}
