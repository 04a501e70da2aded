package peernet

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func credentials4(t *testing.T, a *pki.Authority, role pki.Role, id cluster.NodeID) *Credentials {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Sign(csr, pki.Subject{Role: role, Node: id, Address: "127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return NewCredentials(pki.Leaf(der, key, a.CertDER()), a)
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority("c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func anyone(cluster.NodeID) bool { return true }

// echo serves one protocol of a port: it sends back the first bytes of each connection.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err == nil {
			c.Write(b)
		}
		c.Close()
	}
}

func open(t *testing.T, a *pki.Authority, trust Trust) *Port {
	t.Helper()
	p, err := Listen("127.0.0.1:0", credentials4(t, a, pki.RolePeer, "server"), trust, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	protos := []string{ProtoRaft, ProtoHTTP, ProtoJoin}
	for _, proto := range protos {
		go func() { echo(p.Proto(proto)); done <- struct{}{} }()
	}
	t.Cleanup(func() {
		p.Close()
		for range protos {
			<-done
		}
	})
	return p
}

// says reports whether a connection reaches its handler: TLS 1.3 tells a client of a refusal only when it reads.
func says(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

// Members reach each other on every protocol; nobody else reaches anything but the join handler.
func TestPort_LetsMembersInAndNobodyElse(t *testing.T) {
	a := newAuthority(t)
	members := func(id cluster.NodeID) bool { return id == "server" || id == "n1" }
	addr := open(t, a, members).Addr().String()
	ctx := t.Context()

	member := credentials4(t, a, pki.RolePeer, "n1")
	for _, proto := range []string{ProtoRaft, ProtoHTTP} {
		if err := says(member.Dial(ctx, addr, proto, "server", members)); err != nil {
			t.Errorf("a member over %s: %v", proto, err)
		}
	}
	if _, err := member.Dial(ctx, addr, ProtoHTTP, "n2", anyone); err == nil {
		t.Error("a node that is not the one asked for was accepted")
	}

	strangers := map[string]*Credentials{
		"a removed node":                   credentials4(t, a, pki.RolePeer, "gone"),
		"a certificate of role api":        credentials4(t, a, pki.RoleAPI, "n1"),
		"a certificate of another cluster": credentials4(t, newAuthority(t), pki.RolePeer, "n1"),
	}
	for who, c := range strangers {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtoRaft}, Certificates: []tls.Certificate{c.Leaf()}}}).DialContext(ctx, "tcp", addr)
		if says(conn, err) == nil {
			t.Errorf("%s was let in", who)
		}
	}
	for _, protos := range [][]string{nil, {ProtoRaft}, {ProtoJoin, ProtoRaft}, {"h2"}} {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: protos}}).DialContext(ctx, "tcp", addr)
		if says(conn, err) == nil {
			t.Errorf("no certificate over %v was let in", protos)
		}
	}
}

// A machine that joins proves the cluster by the pin before it says anything.
func TestDialJoin_ChecksThePinFirst(t *testing.T) {
	a := newAuthority(t)
	addr := open(t, a, anyone).Addr().String()
	conn, got, err := DialJoin(t.Context(), addr, a.Fingerprint())
	if err := says(conn, err); err != nil || got.ClusterID() != "c1" {
		t.Fatalf("the right pin: %v", err)
	}
	if _, _, err := DialJoin(t.Context(), addr, newAuthority(t).Fingerprint()); err == nil {
		t.Error("a wrong pin was accepted")
	}
}

// A connection that says nothing must not hold the port up, and Close must not wait for it.
func TestPort_SilentConnectionsDoNotBlockOthersOrClose(t *testing.T) {
	a := newAuthority(t)
	addr := open(t, a, anyone).Addr().String()
	for range 8 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := says(credentials4(t, a, pki.RolePeer, "n1").Dial(ctx, addr, ProtoHTTP, "server", anyone)); err != nil {
		t.Error(err)
	}
}

// A server that stops closes its listener and waits for Accept to end; the other protocols go on.
func TestProto_CloseEndsItsAcceptAlone(t *testing.T) {
	a := newAuthority(t)
	p := open(t, a, anyone)
	if err := p.Proto(ProtoJoin).Close(); err != nil {
		t.Fatal(err)
	}
	conn, _, err := DialJoin(t.Context(), p.Addr().String(), a.Fingerprint())
	if says(conn, err) == nil {
		t.Error("the closed protocol still answers")
	}
	member := credentials4(t, a, pki.RolePeer, "n1")
	if err := says(member.Dial(t.Context(), p.Addr().String(), ProtoHTTP, "server", anyone)); err != nil {
		t.Error(err)
	}
}

// While the authority is replaced, nodes with certificates of either one reach each other, and a machine that wants to join is shown the one that
// it knows the cluster by. Later, it is told that it knows the former one.
func TestCredentials_OfTwoAuthorities(t *testing.T) {
	former, present := newAuthority(t), newAuthority(t)
	port := open(t, present, anyone)
	addr, ctx := port.Addr().String(), t.Context()
	late := credentials4(t, former, pki.RolePeer, "late")
	if err := says(late.Dial(ctx, addr, ProtoHTTP, "server", anyone)); err == nil {
		t.Error("a certificate of an authority that is not trusted was accepted")
	}
	port.creds.Set(port.creds.Leaf(), present, former)
	late.Set(late.Leaf(), former, present)
	if err := says(late.Dial(ctx, addr, ProtoHTTP, "server", anyone)); err != nil {
		t.Errorf("while both are trusted: %v", err)
	}
	if _, _, err := DialJoin(ctx, addr, former.Fingerprint()); err == nil {
		t.Error("a certificate of the present authority was taken for one of the former")
	}
	port.creds.Greet(former, credentials4(t, former, pki.RolePeer, "server").Leaf())
	for _, a := range []*pki.Authority{former, present} {
		conn, found, err := DialJoin(ctx, addr, a.Fingerprint())
		if err != nil || found.Fingerprint() != a.Fingerprint() {
			t.Fatalf("join by its pin: %v", err)
		}
		conn.Close()
	}
	port.creds.Greet(nil, tls.Certificate{})
	if _, _, err := DialJoin(ctx, addr, former.Fingerprint()); err == nil || !strings.Contains(err.Error(), "replaced since it was made") {
		t.Errorf("by the pin of an authority that is gone: %v", err)
	}
}
