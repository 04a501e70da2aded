package e2e

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// The protocols of the peer port, by their names in ALPN, and a question that any member may ask over HTTP.
const (
	peerPort   = "7443"
	alpnHTTP   = "http/1.1"
	alpnRaft   = "kilonova-raft/1"
	question   = "GET /v1/chunks/0000000000000000000000000000000000000000000000000000000000000001 HTTP/1.1\r\nHost: x\r\n\r\n"
	peerAnswer = 5 * time.Second
)

// The peer port answers nodes of the cluster. Who shows no certificate, one of another cluster, one that is not a peer's, or that of a node
// that was removed, gets not a byte.
func TestPeerPort_AnswersNobodyButMembers(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 2)
	first, second := s.Nodes[0], s.Nodes[1]
	foreign, removed := s.host(), s.host()
	if out, err := foreign.Init(s.ctx); err != nil {
		t.Fatalf("make another cluster: %v: %s", err, out)
	}
	token, err := s.Token(s.ctx)
	s.must(err)
	if out, err := removed.Enrol(s.ctx, first, token); err != nil {
		t.Fatalf("enrol: %v: %s", err, out)
	}
	s.kilonova(first, "node", "remove", "--force", removed.Name())

	for name, c := range map[string]struct {
		config   *tls.Config
		answered bool
	}{
		"a member over HTTP":                    {s.with(second, "peer.pem", alpnHTTP), true},
		"nobody's certificate over HTTP":        {&tls.Config{NextProtos: []string{alpnHTTP}}, false},
		"nobody's certificate over Raft":        {&tls.Config{NextProtos: []string{alpnRaft}}, false},
		"another cluster's peer over HTTP":      {s.with(foreign, "peer.pem", alpnHTTP), false},
		"another cluster's peer over Raft":      {s.with(foreign, "peer.pem", alpnRaft), false},
		"a member's API certificate over HTTP":  {s.with(second, "api.pem", alpnHTTP), false},
		"a removed node over HTTP":              {s.with(removed, "peer.pem", alpnHTTP), false},
		"a removed node over Raft":              {s.with(removed, "peer.pem", alpnRaft), false},
		"a member that names no protocol":       {s.with(second, "peer.pem"), false},
		"a member that names one that is not":   {s.with(second, "peer.pem", "h2"), false},
		"nobody's certificate beside the doors": {&tls.Config{NextProtos: []string{"kilonova-join/1", alpnRaft}}, false},
		"plain text":                            {nil, false},
	} {
		answer, err := s.askPeerPort(first, c.config)
		if c.answered && !strings.HasPrefix(answer, "HTTP/1.1 ") {
			t.Errorf("%s: %q, %v; want an answer", name, answer, err)
		}
		if !c.answered && (answer != "" || err == nil) {
			t.Errorf("%s: %q, %v; want nothing but an error", name, answer, err)
		}
	}
	if members, err := s.Members(s.ctx, first); err != nil || len(members) != 2 {
		t.Errorf("afterwards the cluster has %+v, %v", members, err)
	}
}

// with is a client that shows the certificate of a node.
func (s *stage) with(n *cloud.Node, file string, protocols ...string) *tls.Config {
	s.t.Helper()
	path, err := n.Host.Path(filepath.Join(n.Host.DataDir(), file))
	s.must(err)
	pair, err := tls.LoadX509KeyPair(path, path)
	s.must(err)
	return &tls.Config{NextProtos: protocols, Certificates: []tls.Certificate{pair}}
}

// askPeerPort sends the question over TLS as the config says, or without when it is nil, and returns the beginning of the answer.
func (s *stage) askPeerPort(n *cloud.Node, config *tls.Config) (string, error) {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(n.Host.Address(), peerPort), peerAnswer)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(peerAnswer)); err != nil {
		return "", err
	}
	if config != nil {
		config.InsecureSkipVerify = true // it is the server that is tried here
		conn = tls.Client(conn, config)
	}
	// A server that refuses may do so before it has read anything, so an error of the write is not the end.
	_, werr := io.WriteString(conn, question)
	begin := make([]byte, 64)
	read, err := conn.Read(begin)
	return string(begin[:read]), errors.Join(werr, err)
}
