package lab

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNew_WithoutRootSaysSo(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("this test is about users other than root")
	}
	if _, err := New(); !errors.Is(err, ErrNotRoot) {
		t.Fatalf("New() = %v, want ErrNotRoot", err)
	}
	if err := Sweep(); !errors.Is(err, ErrNotRoot) {
		t.Fatalf("Sweep() = %v, want ErrNotRoot", err)
	}
}

// Two hosts have names, processes and disks of their own. They reach each other and the machine reaches them.
func TestHosts_AreApartButConnected(t *testing.T) {
	l, ctx := newLab(t)
	a, b := addHost(t, l), addHost(t, l)

	if name := run(t, a, "hostname"); name != a.Name {
		t.Errorf("host name is %q, want %q", name, a.Name)
	}
	if n := strings.Count(run(t, a, "sh", "-c", "ls -d /proc/[0-9]*"), "\n"); n > 4 {
		t.Errorf("host sees %d processes, want only its own few", n+1)
	}
	run(t, a, "touch", filepath.Join(a.DataDir(), "mine"))
	if seen := run(t, b, "ls", b.DataDir()); strings.Contains(seen, "mine") {
		t.Errorf("%s sees the file of %s: %s", b.Name, a.Name, seen)
	}
	if _, err := b.Start("server", nil, "busybox", "nc", "-ll", "-p", "7", "-e", "hostname"); err != nil {
		t.Fatal(err)
	}
	if !reaches(ctx, a, b) {
		t.Errorf("%s does not reach %s", a.Name, b.Name)
	}
	out, err := exec.CommandContext(ctx, "busybox", "nc", b.Address(), "7").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != b.Name {
		t.Errorf("the machine reached %q (%v), want %q", got, err, b.Name)
	}
}

// The power of a host goes while a program writes. What it synced is there afterwards, what it did not is not,
// and nothing of the host runs in between.
func TestPowerCut_KeepsSyncedDataOnly(t *testing.T) {
	l, ctx := newLab(t)
	h := addHost(t, l)
	synced, unsynced := filepath.Join(h.DataDir(), "synced"), filepath.Join(h.DataDir(), "unsynced")
	run(t, h, "sh", "-c", "echo kept >"+synced+" && sync && echo lost >"+unsynced)
	p, err := h.Start("sleeper", nil, "sh", "-c", "setsid sleep 1000 & exec sleep 1000")
	if err != nil {
		t.Fatal(err)
	}

	if err := h.PowerCut(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(ctx); err == nil {
		t.Error("the process ended well; it should have been killed")
	}
	if _, err := h.Run(ctx, "true"); !errors.Is(err, ErrPowerOff) {
		t.Errorf("Run on a dead host = %v, want ErrPowerOff", err)
	}
	if pids := processesOf(l.Dir()); len(pids) != 1 { // The fabric's holder.
		t.Errorf("%d processes of the lab are left, want 1", len(pids))
	}

	if err := h.PowerOn(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h, "cat", synced); got != "kept" {
		t.Errorf("synced file holds %q", got)
	}
	if got := run(t, h, "sh", "-c", "cat "+unsynced+" 2>&1 || true"); strings.Contains(got, "lost") {
		t.Error("data that nobody synced survived the power cut")
	}
}

// The disk of a host hangs: whoever syncs waits, and goes on when it is back. While it hangs, the power can still be
// cut.
func TestFreezeDisk_StallsWritersUntilItThaws(t *testing.T) {
	l, ctx := newLab(t)
	h := addHost(t, l)
	start := func(name string) *Process {
		t.Helper()
		p, err := h.Start(name, nil, "sh", "-c", "echo x >"+filepath.Join(h.DataDir(), name)+" && sync")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	freeze := func() {
		t.Helper()
		if err := errors.Join(h.FreezeDisk(), h.FreezeDisk()); err != nil {
			t.Fatal(err)
		}
	}
	freeze()
	stalled := start("stalled")
	select {
	case <-stalled.Done():
		t.Fatal("a writer got through to a frozen disk")
	case <-time.After(300 * time.Millisecond):
	}
	if err := h.ThawDisk(); err != nil {
		t.Fatal(err)
	}
	if err := stalled.Wait(ctx); err != nil {
		t.Errorf("after the thaw, the writer ended with %v", err)
	}
	freeze()
	cut := start("cut")
	if err := h.PowerCut(); err != nil {
		t.Fatal(err)
	}
	if err := cut.Wait(ctx); err == nil {
		t.Error("the writer survived the power cut")
	}
	if err := h.PowerOn(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h, "ls", h.DataDir()); !strings.Contains(got, "stalled") || strings.Contains(got, "cut") {
		t.Errorf("after the power cut, the disk holds %q", got)
	}
}

// A partition stops traffic between groups in both directions, a drop in one, and a pulled cable all of it.
func TestPartition_CutsAndHeals(t *testing.T) {
	l, ctx := newLab(t)
	a, b, c := addHost(t, l), addHost(t, l), addHost(t, l)
	for _, h := range l.Hosts() {
		if _, err := h.Start("server", nil, "busybox", "nc", "-ll", "-p", "7", "-e", "hostname"); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(from, to *Host, reached bool) {
		t.Helper()
		if reached && !reaches(ctx, from, to) {
			t.Errorf("%s does not reach %s", from.Name, to.Name)
		}
		if !reached && dial(ctx, from, to) != "" {
			t.Errorf("%s reaches %s", from.Name, to.Name)
		}
	}
	expect(a, b, true)
	expect(c, a, true)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(l.Partition(ctx, []*Host{a}, []*Host{b, c}))
	expect(a, b, false)
	expect(b, c, true)
	must(l.Heal(ctx))
	expect(a, b, true)
	must(l.Drop(ctx, a, c))
	expect(a, c, false)
	expect(c, a, false) // TCP needs the way back.
	must(l.Heal(ctx))
	must(b.Unplug())
	expect(a, b, false)
	expect(a, c, true)
	must(b.Plug())
	expect(a, b, true)
}

// Two labs are up at once: other addresses, other directories. Sweeping does not touch either.
func TestLabs_DoNotCollide(t *testing.T) {
	one, _ := newLab(t)
	two, _ := newLab(t)
	a, b := addHost(t, one), addHost(t, two)
	if a.Address() == b.Address() || one.Dir() == two.Dir() {
		t.Fatalf("labs share %s or %s", a.Address(), one.Dir())
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, a, "hostname"); got != a.Name {
		t.Errorf("after a sweep, the host says %q", got)
	}
}

// needRoot skips tests that make hosts when that is not possible, or not wanted ("make test-unit").
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || testing.Short() {
		t.Skip("making hosts needs root and is left out of -short")
	}
}

func newLab(t *testing.T) (*Lab, context.Context) {
	t.Helper()
	needRoot(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, ctx
}

func addHost(t *testing.T, l *Lab) *Host {
	t.Helper()
	h, err := l.AddHost(HostOptions{DiskMiB: 64})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func run(t *testing.T, h *Host, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := h.Run(ctx, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// dial returns what the server on to's port 7 says to from, or nothing.
func dial(ctx context.Context, from, to *Host) string {
	out, _ := from.Run(ctx, "busybox", "nc", "-w", "1", to.Address(), "7")
	return strings.TrimSpace(out)
}

// reaches gives the server time to start, and the cable time to find its carrier.
func reaches(ctx context.Context, from, to *Host) bool {
	for range 10 {
		if dial(ctx, from, to) == to.Name {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}
