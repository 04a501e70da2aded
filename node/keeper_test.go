package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/node/pki"
)

// keys tells how far a rotation is, as a node sees it.
func (r *running) keys(which cluster.Keyset) clusterapi.Rotation {
	var res struct{ Keys []clusterapi.Rotation }
	if r.ask(http.MethodGet, "/keys", nil, &res) != nil {
		return clusterapi.Rotation{}
	}
	for _, k := range res.Keys {
		if k.Keys == which {
			return k
		}
	}
	return clusterapi.Rotation{}
}

func (r *running) waitsFor(which cluster.Keyset, step cluster.KeyStep, names ...string) bool {
	k := r.keys(which)
	if k.Step != step || len(k.Waiting) != len(names) {
		return false
	}
	for i, n := range names {
		if k.Waiting[i].Node != n {
			return false
		}
	}
	return true
}

func (r *running) rotate(t *testing.T, which cluster.Keyset, request map[string]any) {
	t.Helper()
	if err := r.ask(http.MethodPost, "/keys/"+string(which)+"/rotate", request, nil); err != nil {
		t.Fatal(err)
	}
}

// file reads a file of a node's data directory.
func (r *running) file(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(r.cfg.DataDir + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// trio is a cluster of three voters.
func trio(t *testing.T) (l *lan, n1, n2, n3 *running) {
	t.Helper()
	l = newLAN(t)
	n1 = l.first()
	n2, n3 = l.join(2, n1), l.join(3, n1)
	l.until("three voters", func() bool { return n2.votersUp(3) && n3.votersUp(3) && n1.votersUp(3) })
	return l, n1, n2, n3
}

// A node is off while the gossip key is rotated; the operator does not wait for it. When it is back it knows the old key only, which nobody takes
// any more. It learns the new one over the peer port and is heard of again. Before that, the leader is stopped at one step and another node
// at the other, and the rotation goes on when they are back.
func TestRotateGossipKey_WithNodesOffline(t *testing.T) {
	l, n1, n2, n3 := trio(t)
	old := n3.file(t, identityFile)
	if err := n3.stop(); err != nil {
		t.Fatal(err)
	}
	n1.rotate(t, cluster.KeysGossip, map[string]any{})
	l.until("only the node that is off is waited for", func() bool { return n2.waitsFor(cluster.KeysGossip, cluster.KeysAdded, "n3") })
	if err := n1.stop(); err != nil { // the leader, most likely: there is no quorum now
		t.Fatal(err)
	}
	n1 = l.run(n1.cfg)
	l.until("the rotation is as it was", func() bool { return n1.waitsFor(cluster.KeysGossip, cluster.KeysAdded, "n3") })
	n1.rotate(t, cluster.KeysGossip, map[string]any{"force": true})
	l.until("the two have only the new key", func() bool {
		return n1.keys(cluster.KeysGossip).Step == cluster.KeysDone && n2.keys(cluster.KeysGossip).Step == cluster.KeysDone
	})
	if now := n3.file(t, identityFile); !bytes.Equal(now, old) {
		t.Fatal("the node that is off has heard of it")
	}
	n3 = l.run(n3.cfg)
	l.until("the third is back", func() bool { return n1.votersUp(3) && n2.votersUp(3) && n3.votersUp(3) })

	// Again, and this time nobody is given up: a node that comes back at each step is enough.
	if err := n2.stop(); err != nil {
		t.Fatal(err)
	}
	n1.rotate(t, cluster.KeysGossip, map[string]any{})
	l.until("the second is waited for", func() bool { return n1.waitsFor(cluster.KeysGossip, cluster.KeysAdded, "n2") })
	n2 = l.run(n2.cfg)
	l.until("it ends by itself", func() bool {
		return n1.keys(cluster.KeysGossip).Step == cluster.KeysDone && n2.keys(cluster.KeysGossip).Step == cluster.KeysDone
	})
	l.until("nobody is missed", func() bool { return n1.votersUp(3) && n2.votersUp(3) && n3.votersUp(3) })
}

// shows tells whether the API of a node can be reached by a client that trusts the authorities in a file.
func (r *running) shows(t *testing.T, ca []byte) bool {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", r.cfg.at(APIPort))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// The authority is rotated with a node off. Nothing moves on without it, and it gets back in. While there are two, a client that knows the old one
// reaches the API, a machine with an older token joins, and a node that is stopped and started does not go back. When the old authority is gone
// the old token says so, and so does nothing else: the nodes, and clients that copied ca.pem in time, go on.
func TestRotateAuthority_WithANodeOffline(t *testing.T) {
	l, n1, n2, n3 := trio(t)
	oldCA := n1.file(t, authorityPEM)
	early, late := l.token(n1, nil), l.token(n1, nil)
	if err := n3.stop(); err != nil {
		t.Fatal(err)
	}
	const keep = 20 * time.Second
	begun := time.Now()
	n1.rotate(t, cluster.KeysAuthority, map[string]any{"keep": keep.String()})
	l.until("the node that is off is waited for", func() bool { return n2.waitsFor(cluster.KeysAuthority, cluster.KeysAdded, "n3") })
	n3 = l.run(n3.cfg)
	l.until("every node has a new certificate", func() bool { return n3.waitsFor(cluster.KeysAuthority, cluster.KeysUsed) })
	bundle := n3.file(t, authorityPEM)
	if strings.Count(string(bundle), "BEGIN CERTIFICATE") != 2 || bytes.Equal(n3.file(t, peerPEM), oldCA) {
		t.Fatalf("ca.pem while there are two: %s", bundle)
	}
	if !n1.shows(t, oldCA) || !n3.shows(t, oldCA) {
		t.Error("a client that knows the old authority is lost already")
	}
	cfg := l.config(4)
	if err := Join(t.Context(), cfg, n2.cfg.Bind, early); err != nil {
		t.Fatalf("a token of the old authority: %v", err)
	}
	n4 := l.run(cfg)
	if err := n2.stop(); err != nil {
		t.Fatal(err)
	}
	n2 = l.run(n2.cfg)
	l.until("the old authority is gone", func() bool { return n2.keys(cluster.KeysAuthority).Step == cluster.KeysDone })
	if took := time.Since(begun); took < keep {
		t.Errorf("the old authority went after %v", took)
	}
	for _, n := range []*running{n1, n2, n3, n4} {
		l.until("only the new one is left at "+n.cfg.Name, func() bool {
			return strings.Count(string(n.file(t, authorityPEM)), "BEGIN CERTIFICATE") == 1 && n.shows(t, bundle) && !n.shows(t, oldCA)
		})
	}
	if err := Join(t.Context(), l.config(5), n1.cfg.Bind, late); err == nil || !strings.Contains(err.Error(), "replaced since it was made") {
		t.Errorf("a token of the authority that is gone: %v", err)
	}
	if err := Join(t.Context(), n4.cfg, n1.cfg.Bind, early); err == nil || !strings.Contains(err.Error(), "another kilonova runs") {
		t.Errorf("joined again while it runs: %v", err)
	}
	for _, n := range []*running{n3, n4} {
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := Join(t.Context(), n4.cfg, n1.cfg.Bind, early); err != nil {
		t.Errorf("a unit that says join with its old token: %v", err)
	}
	n3, n4 = l.run(n3.cfg), l.run(n4.cfg)
	l.until("all are back", func() bool {
		nodes, err := n4.nodes()
		for _, x := range nodes {
			if x.State != "up" {
				return false
			}
		}
		return err == nil && len(nodes) == 4
	})
}

// ring is a keyring that remembers what it was given last.
type ring struct{ keys [][]byte }

func (r *ring) SetKeys(keys [][]byte) error { r.keys = keys; return nil }

// script is a state that a test writes, and counts what is proposed.
type script struct {
	*cluster.State
	told []cluster.Op
}

func (s *script) Latest() (*cluster.View, <-chan struct{}) { return s.View(), nil }

func (s *script) Propose(_ context.Context, c cluster.Command) (cluster.Result, error) {
	s.told = append(s.told, c.Op)
	return s.do(c.Op)
}

func (s *script) do(op cluster.Op) (cluster.Result, error) {
	res, err := s.Apply(s.View().Index()+1, []cluster.Command{{Time: s.View().Time() + 1, Op: op}})
	if err == nil && res[0].Err != nil {
		err = res[0].Err
	}
	return res[0], err
}

// newScriptedKeeper is a keeper of a node that was just made, with the state as its log begins. Both have the same first entry.
func newScriptedKeeper(t *testing.T) (*keeper, *script) {
	t.Helper()
	cfg := newLAN(t).config(1)
	if _, err := Init(cfg); err != nil {
		t.Fatal(err)
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.close)
	id, err := dir.enrolment()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a, err := pki.NewAuthority(id.ClusterID, now)
	if err != nil {
		t.Fatal(err)
	}
	first, err := firstCommand(founder{a, nodeRecord(&cfg, id.Node), "secret", now})
	if err != nil {
		t.Fatal(err)
	}
	s := &script{State: cluster.NewState()}
	if _, err := s.Apply(1, []cluster.Command{first}); err != nil {
		t.Fatal(err)
	}
	leaf, err := dir.leaf(peerPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{
		cfg: &cfg, dir: dir, id: id, creds: peernet.NewCredentials(leaf), gossip: &ring{}, state: s,
		leads: func() bool { return true }, served: func() {}, log: slog.New(slog.DiscardHandler),
	}, s
}

// A node that has told the others that it has new keys is started again, and its replica has not caught up yet: it shows the state of before. The
// node must not go back, or it would be alone with keys that the others may have dropped by now.
func TestKeeper_NeverGoesBackToOlderKeys(t *testing.T) {
	k, s := newScriptedKeeper(t)
	before := s.View()
	now := before.Time().Std().Add(time.Second)
	op, err := keysmith{}.NewKeys(cluster.KeysGossip, k.id.ClusterID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.do(op); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := k.pass(t.Context(), s.View(), now); err != nil {
			t.Fatal(err)
		}
	}
	if r, _ := s.View().Rotation(cluster.KeysGossip); r.Step != cluster.KeysDone || len(s.told) != 2 {
		t.Fatalf("the rotation is %+v after %d words", r, len(s.told))
	}
	again := *k
	again.adopted, again.gossip = 0, &ring{}
	if again.id, err = k.dir.enrolment(); err != nil {
		t.Fatal(err)
	}
	if len(again.id.GossipKeys) != 1 || !bytes.Equal(again.id.GossipKeys[0], op.GossipKey) {
		t.Error("the new key is not on the disk")
	}
	if err := again.pass(t.Context(), before, now); err != nil || again.gossip.(*ring).keys != nil {
		t.Errorf("with the state of before it took %d keys, %v", len(again.gossip.(*ring).keys), err)
	}
	if err := again.pass(t.Context(), s.View(), now); err != nil || len(again.gossip.(*ring).keys) != 1 {
		t.Errorf("with the present state it took %d keys, %v", len(again.gossip.(*ring).keys), err)
	}
}

// Certificates are renewed in the last third of their life, and nothing is written when nothing changed.
func TestKeeper_RenewsCertificatesInTime(t *testing.T) {
	k, s := newScriptedKeeper(t)
	now := s.View().Time().Std()
	serial := func() string { return k.creds.Leaf().Leaf.SerialNumber.String() }
	for _, c := range []struct {
		after   time.Duration
		changes bool
	}{{0, true}, {time.Hour, false}, {pki.NodeLifetime / 2, false}, {pki.NodeLifetime * 3 / 4, true}} {
		before := serial()
		if err := k.pass(t.Context(), s.View(), now.Add(c.after)); err != nil {
			t.Fatal(err)
		}
		if changed := serial() != before; changed != c.changes {
			t.Errorf("after %v: renewed %v", c.after, changed)
		}
	}
}
