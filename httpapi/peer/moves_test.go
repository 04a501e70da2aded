package peer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// mover is a node whose instances move. What it was asked about is in asked.
type mover struct {
	disk    []byte
	corrupt bool   // what is sent is not what was read
	broken  bool   // the disk ends in an error
	socket  string // of the hypervisor
	asked   Move
}

func (m *mover) Disks(_ context.Context, move Move) ([]Disk, error) {
	m.asked = move
	if move.Instance != "i1" {
		return nil, cluster.Errorf(cluster.Stale, "it does not move")
	}
	return []Disk{{ID: "root", Format: "qcow2", Overlay: true, Bytes: int64(len(m.disk)), Extents: []Extent{{0, int64(len(m.disk))}}}}, nil
}

func (m *mover) Block(_ context.Context, w io.Writer, move Move, _ string, parts []Extent) error {
	m.asked = move
	for _, p := range parts {
		if p.Offset+p.Length > int64(len(m.disk)) {
			return cluster.Errorf(cluster.Invalid, "it is not that long")
		}
		if _, err := w.Write(m.disk[p.Offset : p.Offset+p.Length]); err != nil {
			return err
		}
		if m.broken {
			return errors.New("the disk is on fire")
		}
	}
	return nil
}

func (m *mover) Land(_ context.Context, move Move) (json.RawMessage, error) {
	m.asked = move
	return json.RawMessage(`{"disks":{"root":"/a"}}`), nil
}

func (m *mover) Arrival(context.Context, Move) (Arrival, error) {
	return Arrival{Defined: true, Running: true}, nil
}

func (m *mover) Stream(ctx context.Context, move Move, which Stream) (net.Conn, error) {
	m.asked = move
	if which != StreamMemory {
		return nil, cluster.Errorf(cluster.Invalid, "there is no such stream")
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", m.socket)
}

// serveMover serves a node over TLS, as the peer port does, to a node called n2.
func serveMover(t *testing.T, m *mover) *Client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	router := Router(Services{Disks: m, Landings: m, Log: slog.New(slog.DiscardHandler)})
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if m.corrupt {
				w = spoiler{w}
			}
			router.ServeHTTP(w, r)
		}),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return WithAsker(ctx, "n2") },
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	c := NewClient(func(ctx context.Context, _ cluster.NodeID) (net.Conn, error) {
		return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}).DialContext(ctx, "tcp", l.Addr().String())
	})
	t.Cleanup(func() { c.Close(); srv.Close(); <-done })
	return c
}

// spoiler changes the first byte of every piece.
type spoiler struct{ http.ResponseWriter }

func (s spoiler) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	q[0] ^= 1
	return s.ResponseWriter.Write(q)
}

var theMove = Move{Instance: "i1", Operation: "o1"}

// A destination lists a disk and reads parts of it. The source is told who asks, by the connection and by nothing that is said on it.
func TestBlock_IsWhatTheSourceRead(t *testing.T) {
	m := &mover{disk: []byte("abcdefghij")}
	c := serveMover(t, m)
	list, err := c.Disks(t.Context(), "n1", Move{Instance: "i1", Operation: "o1", Asker: "n9"})
	if err != nil || len(list) != 1 || list[0].Bytes != 10 || m.asked.Asker != "n2" {
		t.Fatalf("%+v, %v, asked by %q", list, err, m.asked.Asker)
	}
	into := make([]byte, 5)
	if err := c.Block(t.Context(), "n1", theMove, "root", []Extent{{1, 2}, {7, 3}}, into); err != nil || string(into) != "bchij" {
		t.Fatalf("%q, %v", into, err)
	}
	if m.asked.Instance != "i1" || m.asked.Operation != "o1" || m.asked.Asker != "n2" {
		t.Errorf("asked for %+v", m.asked)
	}
	if _, err := c.Disks(t.Context(), "n1", Move{Instance: "i2", Operation: "o1"}); cluster.CodeOf(err) != cluster.Stale {
		t.Errorf("another instance: %v", err)
	}
}

// What was changed on its way, or ends before its end, is never taken for the disk.
func TestBlock_NoticesDamage(t *testing.T) {
	into := make([]byte, 10)
	for name, m := range map[string]*mover{"changed": {corrupt: true}, "cut off": {broken: true}} {
		m.disk = []byte("abcdefghij")
		if err := serveMover(t, m).Block(t.Context(), "n1", theMove, "root", []Extent{{0, 10}}, into); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	c := serveMover(t, &mover{disk: []byte("abc")})
	for name, parts := range map[string][]Extent{
		"beyond the end": {{0, 10}}, "nothing": {}, "negative": {{-1, 2}}, "backwards": {{5, 2}, {1, 2}}, "too much": {{0, MaxBlock + 1}},
		"overflowing": {{1 << 62, 10}, {1<<62 + 20, 10}},
	} {
		if err := c.Block(t.Context(), "n1", theMove, "root", parts, into); cluster.CodeOf(err) != cluster.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A stream carries bytes both ways. Each end says when it has no more to say, and still hears the other out.
func TestStream_EndsInEachDirectionByItself(t *testing.T) {
	m := &mover{socket: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan string, 1)
	go func() { // it answers when it has heard all
		c, err := l.Accept()
		if err != nil {
			heard <- err.Error()
			return
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		if err == nil {
			_, err = io.WriteString(c, strings.Repeat("echo ", 1<<16))
		}
		if err != nil {
			heard <- err.Error()
			return
		}
		heard <- string(b)
	}()
	c := serveMover(t, m)
	conn, err := c.Stream(t.Context(), "n1", theMove, StreamMemory)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "all that I have"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if got := <-heard; got != "all that I have" || err != nil || len(answer) != 5<<16 {
		t.Errorf("heard %q; answered with %d bytes, %v", got, len(answer), err)
	}
	if _, err := c.Stream(t.Context(), "n1", theMove, StreamDisks); cluster.CodeOf(err) != cluster.Invalid {
		t.Errorf("a stream that there is not: %v", err)
	}
}

// What the destination says of itself comes through as it was said.
func TestLandings_SpeakThroughTheWire(t *testing.T) {
	c := serveMover(t, &mover{})
	landing, err := c.Land(t.Context(), "n1", theMove)
	if err != nil || string(landing) != `{"disks":{"root":"/a"}}` {
		t.Errorf("%s, %v", landing, err)
	}
	if a, err := c.Arrival(t.Context(), "n1", theMove); err != nil || !a.Defined || !a.Running {
		t.Errorf("%+v, %v", a, err)
	}
}

func FuzzDecodeParts(f *testing.F) {
	for _, s := range []string{`[{"offset":0,"length":1}]`, `[]`, `null`, `[{"offset":9223372036854775807,"length":9223372036854775807}]`, `[{"offset":-1}]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, total, err := decodeParts(strings.NewReader(text))
		if err != nil {
			return
		}
		at, sum := int64(0), int64(0)
		for _, p := range parts {
			if p.Offset < at || p.Length <= 0 {
				t.Fatalf("%v was taken", parts)
			}
			at, sum = p.Offset+p.Length, sum+p.Length
		}
		if sum != total || total > MaxBlock {
			t.Fatalf("%v has %d bytes, said to be %d", parts, sum, total)
		}
	})
}
