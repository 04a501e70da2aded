package pki

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T, id string) *Authority {
	t.Helper()
	a, err := NewAuthority(id, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func chain(t *testing.T, a *Authority, s Subject) []*x509.Certificate {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Sign(csr, s, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{leaf, a.cert}
}

// A peer's certificate is accepted for what it says and for nothing else.
func TestVerifyPeer_AcceptsItsOwnClusterAndRoleOnly(t *testing.T) {
	a, other := authority(t, "c1"), authority(t, "c2")
	peer := chain(t, a, Subject{Role: RolePeer, Node: "n1", Name: "host1", Address: "192.0.2.11"})
	api := chain(t, a, Subject{Role: RoleAPI, Node: "n1"})

	if id, err := a.VerifyPeer(peer, RolePeer, now); err != nil || id != "n1" {
		t.Fatalf("own peer: %q, %v", id, err)
	}
	refused := map[string]error{}
	_, refused["the api role"] = a.VerifyPeer(api, RolePeer, now)
	_, refused["another cluster"] = other.VerifyPeer(peer, RolePeer, now)
	_, refused["no certificate"] = a.VerifyPeer(nil, RolePeer, now)
	_, refused["an expired one"] = a.VerifyPeer(peer, RolePeer, now.Add(NodeLifetime+time.Hour))
	for what, err := range refused {
		if err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

// A joining machine knows only a fingerprint. It must find the cluster by it, and not be taken in by a server that
// shows the right authority beside a certificate of its own making.
func TestAuthorityOf_BelievesThePinAlone(t *testing.T) {
	a, evil := authority(t, "c1"), authority(t, "c1")
	good := chain(t, a, Subject{Role: RolePeer, Node: "n1"})
	if got, err := AuthorityOf(good, a.Fingerprint(), now); err != nil || got.ClusterID() != "c1" {
		t.Fatalf("the right cluster: %v", err)
	}
	if _, err := AuthorityOf(good, evil.Fingerprint(), now); err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("a wrong pin: %v", err)
	}
	forged := chain(t, evil, Subject{Role: RolePeer, Node: "n1"})
	forged[1] = a.cert
	if _, err := AuthorityOf(forged, a.Fingerprint(), now); err == nil {
		t.Error("a leaf of another authority was accepted beside the pinned one")
	}
}

// The authority goes through the replicated state as bytes and must come back able to sign.
func TestParseAuthority_RoundTrip(t *testing.T) {
	a := authority(t, "c1")
	key, err := a.KeyPKCS8()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseAuthority(a.CertDER(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.VerifyPeer(chain(t, b, Subject{Role: RolePeer, Node: "n2"}), RolePeer, now); err != nil {
		t.Error(err)
	}
	if _, err := ParseAuthority(authority(t, "c1").CertDER(), key); err == nil {
		t.Error("a key of another authority was accepted")
	}
	if _, err := ParseAuthority([]byte("junk"), nil); err == nil {
		t.Error("junk was accepted")
	}
}

// A request decides on nothing but the key.
func TestSign_RefusesJunkAndForeignKeys(t *testing.T) {
	a := authority(t, "c1")
	if _, err := a.Sign([]byte("junk"), Subject{Role: RolePeer, Node: "n1"}, now); err == nil {
		t.Error("junk was signed")
	}
}

// Renewal must come well before the end, and at once when there is no certificate.
func TestRenewalDue_InTheLastThird(t *testing.T) {
	c := chain(t, authority(t, "c1"), Subject{Role: RolePeer, Node: cluster.NodeID("n1")})[0]
	if RenewalDue(c, now) || !RenewalDue(c, now.Add(NodeLifetime*3/4)) || !RenewalDue(nil, now) {
		t.Error("renewal is due at the wrong time")
	}
}
