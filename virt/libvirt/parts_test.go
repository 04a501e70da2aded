package libvirt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/virt"
)

// A driver cannot be made from a configuration that makes no sense.
func TestNew_BadConfigurationIsRefused(t *testing.T) {
	good := Config{DataDir: t.TempDir()}
	for name, spoil := range map[string]func(*Config){
		"relative directory":  func(c *Config) { c.DataDir = "data" },
		"no directory":        func(c *Config) { c.DataDir = "" },
		"remote URI":          func(c *Config) { c.URI = "qemu+ssh://host/system" },
		"no URI":              func(c *Config) { c.URI = "::" },
		"virt type":           func(c *Config) { c.VirtType = "xen" },
		"model without mode":  func(c *Config) { c.CPUModel = "EPYC" },
		"mode without model":  func(c *Config) { c.CPUMode = "custom" },
		"directory is a file": func(c *Config) { c.DataDir = "/dev/null" },
	} {
		c := good
		spoil(&c)
		if d, err := New(c); err == nil {
			d.Close()
			t.Errorf("%s: was accepted", name)
		}
	}
}

func TestPower_MapsEveryState(t *testing.T) {
	for _, c := range []struct {
		state  rpc.DomainState
		reason int32
		want   virt.Power
		word   string
	}{
		{rpc.DomainRunning, 1, virt.PowerRunning, "booted"},
		{rpc.DomainBlocked, 0, virt.PowerRunning, "unknown"},
		{rpc.DomainPaused, 5, virt.PowerPaused, "I/O error"},
		{rpc.DomainPaused, 10, virt.PowerCrashed, "crashed"},
		{rpc.DomainShutdown, 0, virt.PowerRunning, "shutting down"},
		{rpc.DomainShutoff, 1, virt.PowerOff, "shutdown"},
		{rpc.DomainShutoff, 3, virt.PowerCrashed, "crashed"},
		{rpc.DomainShutoff, 77, virt.PowerOff, "reason 77"},
		{rpc.DomainCrashed, 1, virt.PowerCrashed, "crashed"},
		{rpc.DomainPmsuspended, 0, virt.PowerPaused, "suspended by its guest"},
		{rpc.DomainNostate, 0, virt.PowerUnknown, "state 0"},
	} {
		if got, word := power(c.state, c.reason); got != c.want || word != c.word {
			t.Errorf("state %d, reason %d: %v %q, want %v %q", c.state, c.reason, got, word, c.want, c.word)
		}
	}
}

// A guest floods its serial port. The log stays bounded, keeps the newest, and reads as one text in order.
func TestConsole_IsBoundedAndReadsInOrder(t *testing.T) {
	d := &Driver{store: store{root: t.TempDir()}}
	p, err := d.store.at(testID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.make(1); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(p.console(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	const limit = 100
	var all bytes.Buffer
	for i := range 50 {
		line := strings.Repeat(string(rune('a'+i%26)), 30) + "\n"
		all.WriteString(line)
		if _, err := log.WriteString(line); err != nil {
			t.Fatal(err)
		}
		if err := d.store.boundConsoles(limit); err != nil {
			t.Fatal(err)
		}
		r, err := d.Console(t.Context(), testID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if closeErr := r.Close(); err != nil || closeErr != nil {
			t.Fatal(err, closeErr)
		}
		if !bytes.HasSuffix(all.Bytes(), got) || len(got) > 2*limit+31 || len(got) < min(limit, all.Len()) {
			t.Fatalf("after %d lines the log is %d bytes: %q", i+1, len(got), got)
		}
	}
}

// The disk is full, so the older part cannot be kept. The log is cut all the same, or it would grow for ever.
func TestConsole_IsCutEvenWhenItCannotBeKept(t *testing.T) {
	s := store{root: t.TempDir()}
	p, _ := s.at(testID)
	if err := p.make(1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.console(), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(rotated(p.console(), 0), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.boundConsoles(10); err == nil {
		t.Error("nothing is said of what was lost")
	}
	if info, err := os.Stat(p.console()); err != nil || info.Size() != 0 {
		t.Errorf("the log has %d bytes (%v)", info.Size(), err)
	}
}

// The node was killed in the middle of a removal. The next start finishes it, and touches nothing else.
func TestStore_PurgeFinishesRemovals(t *testing.T) {
	s := store{root: t.TempDir()}
	p, _ := s.at(testID)
	if err := p.make(1); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(s.root, removedPrefix+"x", "x")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, legacyFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.purge(); err != nil {
		t.Fatal(err)
	}
	if there, _ := exists(filepath.Dir(half)); there {
		t.Error("the half-removed directory is still there")
	}
	if there, _ := exists(p.dir); !there {
		t.Error("an instance's directory is gone")
	}
	for range 2 {
		if err := s.remove(p.dir); err != nil {
			t.Fatal(err)
		}
	}
	if entries, _ := os.ReadDir(s.root); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// The drive is written again only when its contents changed, or a crash came between drive and digest.
func TestMakeConfigDrive_FollowsItsContents(t *testing.T) {
	s := store{root: t.TempDir()}
	p, _ := s.at(testID)
	if err := p.make(1); err != nil {
		t.Fatal(err)
	}
	g := testGuest()
	written := func() bool {
		t.Helper()
		old, _ := os.Stat(p.config())
		if err := makeConfigDrive(g, p); err != nil {
			t.Fatal(err)
		}
		now, err := os.Stat(p.config())
		return err == nil && (old == nil || !os.SameFile(old, now))
	}
	if !written() || written() {
		t.Error("it is not written once")
	}
	g.ConfigDrive = map[string][]byte{"a": []byte("new")}
	if !written() {
		t.Error("new contents are not written")
	}
	os.Remove(p.configSum())
	if !written() || written() {
		t.Error("a lost digest does not lead to one more drive")
	}
	g.ConfigDrive = nil
	if written() {
		t.Error("a drive was written for a guest that has none")
	}
	if there, _ := exists(p.config()); there {
		t.Error("the drive of a guest that has none any more is still there")
	}
}

// Two lists of the same bytes, cut differently, are different drives.
func TestDriveSum_TellsPathsFromContents(t *testing.T) {
	a := driveSum(map[string][]byte{"ab": []byte("c")})
	b := driveSum(map[string][]byte{"a": []byte("bc")})
	if a == b {
		t.Error("equal sums")
	}
}

func TestLinkLocal_FollowsTheRFC(t *testing.T) {
	if a, err := linkLocal(ownMAC); err != nil || a.String() != ownLocal {
		t.Errorf("%v (%v), want %s", a, err, ownLocal)
	}
}

func TestBridges_FindsOnlyBridges(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"br0/bridge", "eth0/queues", "br1/bridge"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := bridges(dir); len(got) != 2 || !got["br0"] || !got["br1"] {
		t.Errorf("%v", got)
	}
}

func TestCPUTraits_KnowsOnlyStandardOnes(t *testing.T) {
	got := cpuTraits([]string{"avx2", "pni", "no-such-feature", "sse4.1"})
	if strings.Join(got, " ") != "HW_CPU_X86_AVX2 HW_CPU_X86_SSE3 HW_CPU_X86_SSE41" {
		t.Errorf("%v", got)
	}
}

// One probe serves everybody who asks meanwhile, and its answer is kept.
func TestProber_AsksOnce(t *testing.T) {
	runs := 0
	want := errors.New("no")
	p := &Prober{test: func(context.Context) error { runs++; return want }}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := p.Usable(t.Context()); !errors.Is(err, want) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if runs != 1 {
		t.Errorf("%d runs", runs)
	}
}

// A caller who gives up learns nothing about KVM, and neither does the next one.
func TestProber_ACancelledProbeIsNoAnswer(t *testing.T) {
	p := &Prober{test: func(ctx context.Context) error { return ctx.Err() }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Usable(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := p.Usable(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The probe's guest must be right: told to count only a little, it finishes wherever KVM can run code at all.
// Told to count for ever, it is stopped at the deadline and leaves nothing behind.
func TestRunLongMode_CountsAndCanBeStopped(t *testing.T) {
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil {
		t.Skipf("this machine has no KVM for us: %v", err)
	} else {
		f.Close()
	}
	whole := bytes.Clone(longModeProgram)
	t.Cleanup(func() { copy(longModeProgram, whole) })
	binary.LittleEndian.PutUint32(longModeProgram[longModeCountAt:], 1000)
	if err := runLongMode(t.Context()); err != nil {
		t.Skipf("KVM cannot run code here: %v", err)
	}
	copy(longModeProgram[longModeCountAt+4:], []byte{0xeb, 0xfe}) // jmp to itself
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := runLongMode(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an endless guest: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("an endless guest was stopped after %v", took)
	}
}
