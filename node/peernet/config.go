package peernet

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/pki"
)

// The protocols of the peer port, as ALPN names them.
const (
	ProtoRaft = "kilonova-raft/1"
	ProtoHTTP = "http/1.1"
	ProtoJoin = "kilonova-join/1"
)

// handshakeTimeout bounds how long a connection may take to prove itself.
const handshakeTimeout = 10 * time.Second

// Trust tells whether a node that showed a certificate of the authority may be talked to right now. It is asked in
// every handshake, and again by Cut.
type Trust func(cluster.NodeID) bool

// Credentials are a node's certificate and authority. They can be replaced while in use.
type Credentials struct {
	current atomic.Pointer[credentials]
	door    atomic.Pointer[door]
	live    live
}

type credentials struct {
	leaf    tls.Certificate
	trusted pki.Trusted
}

// door is a certificate of another authority, for machines that know the cluster by that.
type door struct {
	name string // pki.PinName of the authority
	leaf tls.Certificate
}

// NewCredentials holds a peer certificate and the authorities to verify others with.
func NewCredentials(leaf tls.Certificate, trusted ...*pki.Authority) *Credentials {
	c := &Credentials{}
	c.Set(leaf, trusted...)
	return c
}

// Set replaces the certificate and whom to believe: new connections use them at once, old ones go on.
func (c *Credentials) Set(leaf tls.Certificate, trusted ...*pki.Authority) {
	c.current.Store(&credentials{leaf: leaf, trusted: trusted})
}

// Greet makes the certificate that is shown to a machine which knows the cluster by this authority and wants to join. Nil: there is none but
// Leaf.
func (c *Credentials) Greet(authority *pki.Authority, leaf tls.Certificate) {
	if authority == nil {
		c.door.Store(nil)
		return
	}
	c.door.Store(&door{name: pki.PinName(authority.Fingerprint()), leaf: leaf})
}

// greeting is the certificate for a machine that wants to join.
func (c *Credentials) greeting(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if d := c.door.Load(); d != nil && d.name == hello.ServerName {
		return &d.leaf, nil
	}
	l := c.Leaf()
	return &l, nil
}

// Leaf is the present certificate.
func (c *Credentials) Leaf() tls.Certificate { return c.current.Load().leaf }

// verify is the check of both ends: a peer of this cluster, who is a member.
func (c *Credentials) verify(trust Trust, found *cluster.NodeID) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		id, err := c.current.Load().trusted.VerifyPeer(s.PeerCertificates, pki.RolePeer, time.Now())
		if err != nil {
			return err
		}
		if !trust(id) {
			return fmt.Errorf("node %s is not a member of this cluster", id)
		}
		if found != nil {
			*found = id
		}
		return nil
	}
}

// serverConfig asks for a certificate unless the other side only wants to join.
func (c *Credentials) serverConfig(trust Trust) *tls.Config {
	base := func() *tls.Config {
		return &tls.Config{
			MinVersion:     tls.VersionTLS13,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { l := c.Leaf(); return &l, nil },
			// A resumed session would skip the membership check.
			SessionTicketsDisabled: true,
		}
	}
	join := base()
	join.NextProtos = []string{ProtoJoin}
	join.GetCertificate = c.greeting
	peer := base()
	peer.NextProtos = []string{ProtoRaft, ProtoHTTP}
	peer.ClientAuth = tls.RequireAnyClientCert
	peer.VerifyConnection = c.verify(trust, nil)
	choose := base()
	choose.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ProtoJoin {
			return join, nil
		}
		if len(hello.SupportedProtos) == 0 {
			return nil, fmt.Errorf("the peer port speaks no plain TLS")
		}
		return peer, nil
	}
	return choose
}

// Dial opens a connection to a peer for one protocol and proves both ends. An empty node accepts any member.
func (c *Credentials) Dial(ctx context.Context, addr, proto string, node cluster.NodeID, trust Trust) (net.Conn, error) {
	var found cluster.NodeID
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: handshakeTimeout, KeepAlive: 15 * time.Second}, Config: &tls.Config{
		MinVersion:           tls.VersionTLS13,
		NextProtos:           []string{proto},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { l := c.Leaf(); return &l, nil },
		InsecureSkipVerify:   true, // names prove nothing here: VerifyConnection checks authority, role and node
		VerifyConnection:     c.verify(trust, &found),
	}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial peer %s: %w", addr, err)
	}
	if node != "" && found != node {
		conn.Close()
		return nil, fmt.Errorf("dial peer %s: it is node %s, not %s", addr, found, node)
	}
	return c.keep(conn, found, trust)
}

// keep counts a proved connection among the open ones. A node that was removed between the handshake and this is found
// here; one that is removed later, by Cut.
func (c *Credentials) keep(conn net.Conn, node cluster.NodeID, trust Trust) (net.Conn, error) {
	kept := c.live.add(conn, node)
	if !trust(node) {
		_ = kept.Close()
		return nil, fmt.Errorf("node %s is not a member of this cluster", node)
	}
	return kept, nil
}

// DialJoin opens a connection to a node of a cluster that is known only by its authority's fingerprint, and returns
// the authority. Nothing was sent when the fingerprint does not match.
func DialJoin(ctx context.Context, addr string, pin cluster.Hash) (net.Conn, *pki.Authority, error) {
	var authority *pki.Authority
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: handshakeTimeout}, Config: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{ProtoJoin},
		ServerName:         pki.PinName(pin),
		InsecureSkipVerify: true, // the pin is checked instead
		VerifyConnection: func(s tls.ConnectionState) (err error) {
			authority, err = pki.AuthorityOf(s.PeerCertificates, pin, time.Now())
			return err
		},
	}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	return conn, authority, nil
}

// nodeOf tells which node is at the other end of a verified connection.
func nodeOf(s tls.ConnectionState) cluster.NodeID {
	return cluster.NodeID(s.PeerCertificates[0].Subject.CommonName)
}
