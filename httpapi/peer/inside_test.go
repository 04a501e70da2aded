package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// house is a node whose guests are pipes, and a peer of it.
type house struct {
	t      testing.TB
	server *httptest.Server
	peer   *Client
	guests chan net.Conn
	log    *bytes.Buffer

	fails error // of every call
	asked string
	diag  cluster.Diagnostics
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, guests: make(chan net.Conn, 1000), log: &bytes.Buffer{}}
	h.server = httptest.NewServer(Router(Services{Inside: h, Log: slog.New(slog.NewTextHandler(h.log, nil))}))
	h.peer = NewClient(func(ctx context.Context, node cluster.NodeID) (net.Conn, error) {
		if node != "n1" {
			return nil, errors.New("no such node")
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", h.server.Listener.Addr().String())
	})
	t.Cleanup(func() { h.peer.Close(); h.server.Close() })
	return h
}

func (h *house) Dial(_ context.Context, id cluster.InstanceID, kind cluster.ConsoleKind) (net.Conn, error) {
	h.asked = "dial " + string(id) + " " + string(kind)
	if h.fails != nil {
		return nil, h.fails
	}
	ours, guests := net.Pipe()
	h.guests <- guests
	return ours, nil
}

func (h *house) Diagnostics(_ context.Context, id cluster.InstanceID) (cluster.Diagnostics, error) {
	h.asked = "diagnose " + string(id)
	return h.diag, h.fails
}

func (h *house) SetPassword(_ context.Context, id cluster.InstanceID, user, password string) error {
	h.asked = "password " + string(id) + " " + user + " " + password
	return h.fails
}

func (h *house) Crash(_ context.Context, id cluster.InstanceID) error {
	h.asked = "crash " + string(id)
	return h.fails
}

// dial connects to a guest. The context that bounds the connecting is over afterwards, as it is for the proxy.
func (h *house) dial() (io.ReadWriteCloser, net.Conn) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	stream, err := h.peer.DialConsole(ctx, "n1", "a", cluster.ConsoleSerial)
	cancel()
	if err != nil {
		h.t.Fatal(err)
	}
	return stream, <-h.guests
}

// A console goes over the peer port, byte for byte, both ways at once.
func TestDialConsole_PassesEveryByteOn(t *testing.T) {
	h := newHouse(t)
	stream, guest := h.dial()
	defer stream.Close()
	if h.asked != "dial a serial" {
		t.Errorf("asked to %s", h.asked)
	}
	noise := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	var wg sync.WaitGroup
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
		data []byte
	}{{stream, guest, noise[:1<<20]}, {guest, stream, noise[1<<20:]}} {
		wg.Go(func() { way.from.Write(way.data) })
		wg.Go(func() {
			got := make([]byte, len(way.data))
			if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, way.data) {
				t.Errorf("something else arrived (%v)", err)
			}
		})
	}
	wg.Wait()
}

// Either end goes, and the other hears of it. Nothing stays behind, however often.
func TestDialConsole_EndsOnBothSides(t *testing.T) {
	h := newHouse(t)
	first, _ := h.dial()
	first.Close()
	time.Sleep(50 * time.Millisecond)
	before := runtime.NumGoroutine()
	for i := range 200 {
		stream, guest := h.dial()
		if i%2 == 0 {
			stream.Close()
			if _, err := guest.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Fatalf("the guest reads %v", err)
			}
		} else {
			guest.Close()
			if n, err := stream.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Fatalf("the peer reads %d bytes, %v", n, err)
			}
			stream.Close()
		}
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// Closing a stream ends a Read that is under way, from which nothing will come.
func TestDialConsole_CloseEndsARead(t *testing.T) {
	h := newHouse(t)
	stream, _ := h.dial()
	done := make(chan struct{})
	go func() {
		defer close(done)
		stream.Read(make([]byte, 1))
	}()
	time.Sleep(10 * time.Millisecond)
	stream.Close()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("the read goes on")
	}
}

func TestInside_RefusalsCrossWithTheirCodes(t *testing.T) {
	h := newHouse(t)
	want := cluster.Errorf(cluster.Conflict, "Instance a is not running.")
	h.fails = want
	ctx := t.Context()
	_, dial := h.peer.DialConsole(ctx, "n1", "a", cluster.ConsoleNoVNC)
	_, diagnose := h.peer.Diagnostics(ctx, "n1", "a")
	for what, err := range map[string]error{
		"dial": dial, "diagnose": diagnose, "password": h.peer.SetPassword(ctx, "n1", "a", "root", "x"), "crash": h.peer.Crash(ctx, "n1", "a"),
	} {
		var got *cluster.Error
		if !errors.As(err, &got) || *got != *want {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := h.peer.Crash(ctx, "n2", "a"); err == nil || cluster.CodeOf(err) != cluster.Internal {
		t.Errorf("a node that does not answer: %v", err)
	}
}

// A console is asked for without an upgrade, by something that is no peer of this version. No console is opened for it.
func TestConsole_NeedsAnUpgrade(t *testing.T) {
	h := newHouse(t)
	res, err := http.Get(h.server.URL + "/v1/instances/a/consoles/serial")
	if err != nil || res.StatusCode != http.StatusUnprocessableEntity || h.asked != "" {
		t.Errorf("%v, %v, asked to %q", res, err, h.asked)
	}
}

func TestInside_AsksTheNode(t *testing.T) {
	h := newHouse(t)
	h.diag = cluster.Diagnostics{
		State: "running", Uptime: time.Minute, CPUs: []time.Duration{1, 2}, MemoryMaxMiB: 3, MemoryUsedMiB: 4,
		Disks: []cluster.DiskDiagnostics{{ID: "root", ReadBytes: 1, ReadRequests: 2, WriteBytes: 3, WriteRequests: 4, Errors: -1}},
		NICs:  []cluster.NICDiagnostics{{MAC: "m", RxOctets: 1, RxPackets: 2, RxErrors: 3, RxDrops: 4, TxOctets: 5, TxPackets: 6, TxErrors: 7, TxDrops: 8}},
	}
	if d, err := h.peer.Diagnostics(t.Context(), "n1", "a"); err != nil || !reflect.DeepEqual(d, h.diag) {
		t.Errorf("%+v, %v", d, err)
	}
	if err := h.peer.Crash(t.Context(), "n1", "a"); err != nil || h.asked != "crash a" {
		t.Errorf("%s, %v", h.asked, err)
	}
	if err := h.peer.SetPassword(t.Context(), "n1", "a", "root", "correct horse"); err != nil || h.asked != "password a root correct horse" {
		t.Errorf("%s, %v", h.asked, err)
	}
}

// Something goes wrong inside, and something is asked that cannot be read. The log tells, but never a password.
func TestSetPassword_IsNeverLogged(t *testing.T) {
	h := newHouse(t)
	h.fails = errors.New("agent broke")
	if err := h.peer.SetPassword(t.Context(), "n1", "a", "root", "correct horse"); err == nil {
		t.Error("no error")
	}
	res, err := http.Post(h.server.URL+"/v1/instances/a/password", "application/json", strings.NewReader(`{"password": "correct horse`))
	if err != nil || res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("%v, %v", res, err)
	}
	if b, _ := io.ReadAll(res.Body); strings.Contains(string(b)+h.log.String(), "horse") {
		t.Errorf("told: %s %s", b, h.log)
	}
}
