package node

import (
	"crypto"
	"crypto/ecdsa"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/node/pki"
)

// stranger asks to join with whatever it made up.
func stranger(t *testing.T, n *running, token pki.JoinToken, record cluster.Node) (peer.JoinResponse, error) {
	t.Helper()
	conn, _, err := peernet.DialJoin(t.Context(), hostPort(n.cfg.Bind, PeerPort), token.Pin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var csr [2][]byte
	for i := range csr {
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		if csr[i], err = pki.Request(key); err != nil {
			t.Fatal(err)
		}
	}
	return peer.Join(t.Context(), conn, peer.JoinRequest{
		Token: token.ID, Secret: token.Secret, Node: record, PeerCSR: csr[0], APICSR: csr[1], Commands: cluster.CommandVersion,
	})
}

// A machine has joined. Somebody who saw the token's ID and the node's ID, neither of which is secret, repeats the request with keys of
// their own, at once, without the secret; and somebody who has the secret, too, from a copied command line. Neither may get a certificate
// in the name of that node.
func TestEnrol_ReplayGivesNobodyAnothersCertificate(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	text := l.token(n1, map[string]any{"uses": 2})
	cfg := l.config(2)
	if err := Join(t.Context(), cfg, n1.cfg.Bind, text); err != nil {
		t.Fatal(err)
	}
	nodes, err := n1.nodes()
	if err != nil {
		t.Fatal(err)
	}
	token, err := pki.ParseJoinToken(text)
	if err != nil {
		t.Fatal(err)
	}
	victim := nodeRecord(&cfg, nodes["n2"].ID)
	guess := token
	guess.Secret = []byte("no idea")
	if res, err := stranger(t, n1, guess, victim); err == nil || !strings.Contains(err.Error(), "join token") {
		t.Errorf("without the secret: %v, %d bytes of certificate", err, len(res.PeerCert))
	}
	if res, err := stranger(t, n1, token, victim); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("with other keys: %v, %d bytes of certificate", err, len(res.PeerCert))
	}
}

// What a joining machine says of itself is bounded: it gets no certificate for another's name, no room that nobody has looked at, and no
// address that its peers cannot reach it by.
func TestEnrol_ChecksWhatTheMachineSays(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	token, err := pki.ParseJoinToken(l.token(n1, nil))
	if err != nil {
		t.Fatal(err)
	}
	for says, spoil := range map[string]func(*cluster.Node){
		"UUID":           func(n *cluster.Node) { n.ID = "../../etc" },
		"name":           func(n *cluster.Node) { n.Name = "a b" },
		"is taken":       func(n *cluster.Node) { n.Name = "n1" },
		"0.0.0.0":        func(n *cluster.Node) { n.Address = "0.0.0.0" },
		"224.0.0.1":      func(n *cluster.Node) { n.Address = "224.0.0.1" },
		"fe80::1%eth0":   func(n *cluster.Node) { n.Address = "fe80::1%eth0" },
		n1.cfg.Bind:      func(n *cluster.Node) { n.Address = n1.cfg.Bind },
		"not an IP":      func(n *cluster.Node) { n.Address = "example.com" },
		"localhost":      func(n *cluster.Node) { n.Name = "localhost" },
		"name (--name)":  func(n *cluster.Node) { n.Name = "n\u00fcll" },
		"name (--name) ": func(n *cluster.Node) { n.Name = strings.Repeat("x", 254) },
	} {
		cfg := l.config(3)
		record := nodeRecord(&cfg, cluster.NodeID(uuid.NewString()))
		spoil(&record)
		if _, err := stranger(t, n1, token, record); err == nil || !strings.Contains(err.Error()+" ", strings.TrimSpace(says)) {
			t.Errorf("%s: %v", says, err)
		}
	}
	cfg := l.config(3)
	record := nodeRecord(&cfg, cluster.NodeID(uuid.NewString()))
	record.Host.Ready, record.Capacity, record.Number = true, cluster.Capacity{VCPUs: 1 << 20, VCPURatio: 1000}, 99
	record.Service.ForcedDown = true
	res, err := stranger(t, n1, token, record)
	if err != nil {
		t.Fatal(err)
	}
	if n := res.Node; n.Host.Ready || n.Capacity.VCPUs != 0 || n.Number == 99 || n.Service.ForcedDown || n.Key.IsZero() {
		t.Errorf("the cluster took over %+v", n)
	}
}

// The machine loses power after the cluster let it in and before it wrote that down. It tries again with the same token, which is used
// up by now, and is let in as the same node: its keys are on its disk from before it asked.
func TestJoin_GoesOnAfterTheAnswerWasLost(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	cfg := l.config(2)
	token := l.token(n1, nil)
	parsed, err := pki.ParseJoinToken(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := Join(t.Context(), cfg, n1.cfg.Bind, token); err != nil {
		t.Fatal(err)
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := dir.enrolment()
	if err != nil {
		t.Fatal(err)
	}
	// Turn the directory back to what it was before the answer came.
	leaf, err := dir.leaf(peerPEM)
	if err != nil {
		t.Fatal(err)
	}
	api, err := dir.leaf(apiPEM)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.saveJoinKeys(leafKeysOf(t, leaf.PrivateKey, api.PrivateKey)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{peerPEM, apiPEM, authorityPEM} {
		if err := os.Remove(dir.file(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.saveEnrolment(enrolment{Node: id.Node, Name: id.Name, Bind: id.Bind}); err != nil {
		t.Fatal(err)
	}
	dir.close()

	if err := Join(t.Context(), cfg, n1.cfg.Bind, token); err != nil {
		t.Fatalf("again with token %s: %v", parsed.ID, err)
	}
	entries, err := os.ReadDir(cfg.DataDir)
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == joinPEM }) {
		t.Errorf("the keys are still kept twice: %v", err)
	}
	n2 := l.run(cfg)
	l.until("the node is in", func() bool { nodes, err := n2.nodes(); return err == nil && len(nodes) == 2 })
}

func leafKeysOf(t *testing.T, p, a crypto.PrivateKey) leafKeys {
	t.Helper()
	peer, ok := p.(*ecdsa.PrivateKey)
	api, ok2 := a.(*ecdsa.PrivateKey)
	if !ok || !ok2 {
		t.Fatal("the keys are not ECDSA")
	}
	return leafKeys{peer: peer, api: api}
}
