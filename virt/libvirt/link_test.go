package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/virt"
)

// The procedures of libvirt's remote protocol that the fake server is asked for.
const (
	procAuthList   = 66
	procGetVersion = 4
	procLibVersion = 157
	rpcHeaderSize  = 28
)

// fakeLibvirtd speaks as much of libvirt's RPC protocol as it takes to open a connection. It answers every
// call with a zero, after the delay of its procedure; a negative delay is no answer at all.
type fakeLibvirtd struct {
	socket string
	delay  map[uint32]time.Duration

	mu       sync.Mutex
	accepted int
}

func newFake(t *testing.T, delay map[uint32]time.Duration) *fakeLibvirtd {
	t.Helper()
	f := &fakeLibvirtd{socket: filepath.Join(t.TempDir(), "s"), delay: delay}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.accepted++
			f.mu.Unlock()
			wg.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return f
}

func (f *fakeLibvirtd) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepted
}

func (f *fakeLibvirtd) serve(conn net.Conn) {
	defer conn.Close()
	var writing sync.Mutex
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		header := make([]byte, rpcHeaderSize)
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(header))-rpcHeaderSize); err != nil {
			return
		}
		procedure := binary.BigEndian.Uint32(header[12:])
		if f.delay[procedure] < 0 {
			continue
		}
		payload := make([]byte, 8)
		if procedure == procAuthList {
			payload[3] = 1 // one kind of authentication: none
		}
		binary.BigEndian.PutUint32(header, uint32(rpcHeaderSize+len(payload)))
		binary.BigEndian.PutUint32(header[16:], 1) // a reply
		wg.Go(func() {
			time.Sleep(f.delay[procedure])
			writing.Lock()
			defer writing.Unlock()
			conn.Write(append(header, payload...)) // the caller may be gone
		})
	}
}

func version(l *rpc.Libvirt) (uint64, error) { return l.ConnectGetVersion() }

func libVersion(l *rpc.Libvirt) (uint64, error) { return l.ConnectGetLibVersion() }

// One guest's monitor hangs, and so does the call that waits for it. Calls for other guests over the same
// connection must get their answers; the next call gets a connection of its own.
func TestLink_AHangingCallEndsNoOther(t *testing.T) {
	f := newFake(t, map[uint32]time.Duration{procGetVersion: -1, procLibVersion: 300 * time.Millisecond})
	k := newLink(f.socket, DefaultURI, 10*time.Second, slog.New(slog.DiscardHandler))
	defer k.close()
	slow := make(chan error, 1)
	if _, err := ask(t.Context(), k, "warm up", libVersion); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := ask(t.Context(), k, "slow call", libVersion)
		slow <- err
	}()
	time.Sleep(50 * time.Millisecond) // the slow call is on its way
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := ask(ctx, k, "hanging call", version); !errors.Is(err, virt.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hanging call: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("hanging call took %v", took)
	}
	if err := <-slow; err != nil {
		t.Errorf("slow call: %v", err)
	}
	if _, err := ask(t.Context(), k, "next call", libVersion); err != nil {
		t.Errorf("next call: %v", err)
	}
	if n := f.connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// libvirtd accepts and then says nothing, as one does that is stopped. Neither calls nor Close may wait for it.
func TestLink_AServerThatNeverAnswersHoldsNobodyUp(t *testing.T) {
	f := newFake(t, map[uint32]time.Duration{procAuthList: -1})
	k := newLink(f.socket, DefaultURI, 100*time.Millisecond, slog.New(slog.DiscardHandler))
	for range 3 {
		if _, err := ask(t.Context(), k, "call", version); !errors.Is(err, virt.ErrUnavailable) {
			t.Errorf("call: %v", err)
		}
	}
	k.close()
	if _, err := ask(t.Context(), k, "call", version); !errors.Is(err, virt.ErrUnavailable) || !errors.Is(err, errClosed) {
		t.Errorf("call after close: %v", err)
	}
}

// Close comes while calls are under way: they fail at once, and close waits for them.
func TestLink_CloseEndsCalls(t *testing.T) {
	f := newFake(t, map[uint32]time.Duration{procGetVersion: -1})
	k := newLink(f.socket, DefaultURI, time.Minute, slog.New(slog.DiscardHandler))
	failed := make(chan error, 5)
	for range cap(failed) {
		go func() {
			_, err := ask(context.Background(), k, "call", version)
			failed <- err
		}()
	}
	time.Sleep(100 * time.Millisecond)
	k.close()
	for range cap(failed) {
		if err := <-failed; !errors.Is(err, virt.ErrUnavailable) {
			t.Errorf("call: %v", err)
		}
	}
}

// The node starts before libvirtd does. New succeeds, calls say that the hypervisor is unavailable, and once
// libvirtd is there an event says so and calls succeed, without anybody's help.
func TestNew_LibvirtdMayComeLater(t *testing.T) {
	real := libvirtd(t)
	socket := filepath.Join(t.TempDir(), "s")
	d, err := New(Config{Socket: socket, URI: "test:///default", DataDir: t.TempDir(), ClusterID: testCluster})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Host(t.Context()); !errors.Is(err, virt.ErrUnavailable) {
		t.Errorf("host: %v", err)
	}
	if _, err := d.Domains(t.Context()); !errors.Is(err, virt.ErrUnavailable) {
		t.Errorf("domains: %v", err)
	}
	forward(t, socket, real.socket)
	select {
	case e := <-d.Events():
		if e.ID != "" {
			t.Errorf("event for %s", e.ID)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("no event though libvirtd is there")
	}
	if _, err := d.Host(t.Context()); err != nil {
		t.Errorf("host: %v", err)
	}
}

// forward lets one socket lead to another.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("unix", from)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("unix", to)
			if err != nil {
				a.Close()
				return
			}
			wg.Go(func() { io.Copy(a, b); a.Close(); b.Close() })
			wg.Go(func() { io.Copy(b, a); a.Close(); b.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
}

// libvirtd crashes and is restarted under a running guest. The guest keeps running, the driver says that
// libvirt was lost and is back, and acts on as before.
func TestDriver_SurvivesARestartOfLibvirtd(t *testing.T) {
	d := needQEMU(t)
	r := newRig(t, d, DefaultURI)
	g := r.guest(t)
	g.Stamp = virt.Stamp{Cluster: testCluster, Instance: "0b7d1f5c-6a3c-4f0e-9a55-4b1e0a6f1a0b", Generation: 4, Epoch: 2}
	if err := r.Driver.Build(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if err := r.Driver.Start(t.Context(), g.Stamp.Instance); err != nil {
		t.Fatal(err)
	}
	before := qemuProcess(t, string(g.Stamp.Instance))
	for len(r.Driver.Events()) > 0 {
		<-r.Driver.Events()
	}
	d.restart(t)
	for range 2 { // lost, and back
		select {
		case <-r.Driver.Events():
		case <-time.After(15 * time.Second):
			t.Fatal("no event though libvirtd was restarted")
		}
	}
	list, err := r.Driver.Domains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, dom := range list {
		if dom.ID == g.Stamp.Instance {
			found = dom.Power == virt.PowerRunning && dom.Stamp == g.Stamp
		}
	}
	if !found || qemuProcess(t, string(g.Stamp.Instance)) != before {
		t.Errorf("the guest is not what it was: %+v\n%s", list, d.log)
	}
	if err := r.Driver.Remove(t.Context(), g.Stamp.Instance); err != nil {
		t.Error(err)
	}
}
