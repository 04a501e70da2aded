package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// guests is a hypervisor as one looks into it: consoles are pipes, and every call can be made to fail.
type guests struct {
	virt.Driver // nil: nothing else is called
	fails       error
	far         chan net.Conn // the guests' ends
	user        string
}

func (g *guests) Dial(_ context.Context, _ cluster.InstanceID, c virt.ConsoleKind) (net.Conn, error) {
	if g.fails != nil {
		return nil, g.fails
	}
	ours, theirs := net.Pipe()
	g.far <- theirs
	return ours, nil
}

func (g *guests) Diagnostics(context.Context, cluster.InstanceID) (cluster.Diagnostics, error) {
	return cluster.Diagnostics{
		State: "running", Uptime: time.Minute, CPUs: []time.Duration{1}, MemoryMaxMiB: 2, MemoryUsedMiB: 3,
		Disks: []cluster.DiskDiagnostics{{ID: "root", ReadBytes: 1, ReadRequests: 2, WriteBytes: 3, WriteRequests: 4, Errors: 5}},
		NICs:  []cluster.NICDiagnostics{{MAC: "m", RxOctets: 1, RxPackets: 2, RxErrors: 3, RxDrops: 4, TxOctets: 5, TxPackets: 6, TxErrors: 7, TxDrops: 8}},
	}, g.fails
}

func (g *guests) SetPassword(_ context.Context, _ cluster.InstanceID, user, _ string) error {
	g.user = user
	return g.fails
}

func (g *guests) Crash(context.Context, cluster.InstanceID) error { return g.fails }

func newGuests() (*guests, *inside) {
	g := &guests{far: make(chan net.Conn, 2*maxConsoles)}
	return g, newInside("n1", g, nil, slog.New(slog.DiscardHandler))
}

var onN1 = &cluster.Instance{ID: "a", Node: "n1"}

// What a driver says in Go is said in codes to peers and clients, with nothing of the host in it.
func TestInside_GivesTheDriversErrorsCodes(t *testing.T) {
	g, i := newGuests()
	for _, x := range []struct {
		err       error
		code      cluster.Code // of everything but a console
		ofConsole cluster.Code
	}{
		{virt.ErrNotFound, cluster.Conflict, cluster.Conflict},
		{virt.ErrNotRunning, cluster.Conflict, cluster.Conflict},
		{virt.ErrUnsupported, cluster.Unsupported, cluster.Invalid},
		{virt.ErrUnavailable, cluster.Unavailable, cluster.Unavailable},
		{context.DeadlineExceeded, cluster.Unavailable, cluster.Unavailable},
		{errors.New("/var/lib/libvirt"), cluster.Internal, cluster.Internal},
	} {
		g.fails = fmt.Errorf("do it to a: %w", x.err)
		_, dial := i.DialConsole(t.Context(), onN1, cluster.ConsoleNoVNC)
		_, diagnose := i.Diagnostics(t.Context(), onN1)
		for what, err := range map[string]error{
			"diagnose": diagnose, "password": i.SetPassword(t.Context(), onN1, "root", "x"), "crash": i.Crash(t.Context(), onN1),
		} {
			if err == nil || cluster.CodeOf(err) != x.code {
				t.Errorf("%v: %s gives %v", x.err, what, err)
			}
		}
		var refusal *cluster.Error
		if !errors.As(dial, &refusal) || refusal.Code != x.ofConsole {
			t.Errorf("%v: a console gives %v", x.err, dial)
		}
	}
	if _, err := i.DialConsole(t.Context(), onN1, "teletype"); cluster.CodeOf(err) != cluster.Invalid {
		t.Errorf("a console that there is none of: %v", err)
	}
}

func TestInside_TellsAllThatTheDriverCounts(t *testing.T) {
	_, i := newGuests()
	d, err := i.Diagnostics(t.Context(), onN1)
	if err != nil {
		t.Fatal(err)
	}
	want := cluster.Diagnostics{
		State: "running", Uptime: time.Minute, CPUs: []time.Duration{1}, MemoryMaxMiB: 2, MemoryUsedMiB: 3,
		Disks: []cluster.DiskDiagnostics{{ID: "root", ReadBytes: 1, ReadRequests: 2, WriteBytes: 3, WriteRequests: 4, Errors: 5}},
		NICs:  []cluster.NICDiagnostics{{MAC: "m", RxOctets: 1, RxPackets: 2, RxErrors: 3, RxDrops: 4, TxOctets: 5, TxPackets: 6, TxErrors: 7, TxDrops: 8}},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("%+v", d)
	}
}

// As many consoles are open as a node serves. The next is refused until one is closed.
func TestInside_BoundsOpenConsoles(t *testing.T) {
	_, i := newGuests()
	var last io.Closer
	for range maxConsoles {
		c, err := i.DialConsole(t.Context(), onN1, cluster.ConsoleSerial)
		if err != nil {
			t.Fatal(err)
		}
		last = c
	}
	if _, err := i.DialConsole(t.Context(), onN1, cluster.ConsoleSerial); cluster.CodeOf(err) != cluster.Unavailable {
		t.Fatalf("one more: %v", err)
	}
	last.Close()
	last.Close()
	c, err := i.DialConsole(t.Context(), onN1, cluster.ConsoleSerial)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	i.close()
}

// The node stops: what peers have open to its guests ends, and nothing is opened any more.
func TestInside_CloseEndsConsoles(t *testing.T) {
	g, i := newGuests()
	if _, err := i.DialConsole(t.Context(), onN1, cluster.ConsoleNoVNC); err != nil {
		t.Fatal(err)
	}
	guest := <-g.far
	i.close()
	if _, err := guest.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the guest reads %v", err)
	}
	if _, err := i.DialConsole(t.Context(), onN1, cluster.ConsoleNoVNC); cluster.CodeOf(err) != cluster.Unavailable {
		t.Errorf("opened after the end: %v", err)
	}
	if _, err := (<-g.far).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("what was refused stays open: %v", err)
	}
}

func TestNoVNC_IsServedOnlyWhereItIs(t *testing.T) {
	if noVNC(t.TempDir()+"/none") != nil {
		t.Error("it is served from nowhere")
	}
	if noVNC(t.TempDir()) == nil {
		t.Error("it is not served")
	}
}
