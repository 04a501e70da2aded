package lab

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// clockEnv lets this test program be one that tells the time, again and again: the wall clock's seconds, and how long it has run by its monotonic clock.
const clockEnv = "KILONOVA_LAB_CLOCK"

func tellTime() {
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		fmt.Println(time.Now().Unix(), time.Since(began).Milliseconds())
	}
}

// The wall clock of a running program is turned back and forth, and set right. Its monotonic clock goes on, and nobody else's clock changes.
func TestShiftClock_TurnsTheWallClockOfOneProcess(t *testing.T) {
	l, _ := newLab(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("no clocks are turned here")
	}
	h := addHost(t, l)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string) *Process {
		t.Helper()
		p, err := h.Start(name, []string{clockEnv + "=1"}, program)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	turned, other := start("turned"), start("other")
	last := func(p *Process, lines int) (ahead time.Duration, ran time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			text, err := p.Log()
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Split(strings.TrimSpace(text), "\n"); len(all) >= lines+2 {
				var wall, ms int64
				if _, err := fmt.Sscan(all[len(all)-2], &wall, &ms); err != nil {
					t.Fatal(err)
				}
				return time.Until(time.Unix(wall, 0)), time.Duration(ms) * time.Millisecond
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s says nothing any more: %s", p.Name, text)
			}
		}
	}
	count := func(p *Process) int {
		text, _ := p.Log()
		return strings.Count(text, "\n")
	}
	const slack = 5 * time.Second
	_, before := last(turned, 1)
	for _, by := range []time.Duration{10 * time.Minute, -10 * time.Minute, 24 * time.Hour, 0} {
		if err := turned.ShiftClock(by); err != nil {
			t.Fatal(err)
		}
		ahead, ran := last(turned, count(turned)+2)
		if ahead < by-slack || ahead > by+slack {
			t.Errorf("turned by %s, the clock is ahead by %s", by, ahead)
		}
		if ran <= before || ran > before+time.Minute {
			t.Errorf("turned by %s, the monotonic clock went from %s to %s", by, before, ran)
		}
		before = ran
		if ahead, _ := last(other, count(other)+2); ahead < -slack || ahead > slack {
			t.Errorf("somebody else's clock is ahead by %s", ahead)
		}
	}
	if err := turned.ShiftClock(100 * 365 * 24 * time.Hour); err == nil {
		t.Error("a clock was turned by a hundred years")
	}
	if err := turned.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := turned.ShiftClock(0); err == nil {
		t.Error("the clock of a process that has ended was turned")
	}
}

// What is not the kernel's library is not written to.
func TestClockPatches_RefusesWhatItDoesNotKnow(t *testing.T) {
	for name, image := range map[string][]byte{
		"nothing": nil, "no ELF": make([]byte, 8192), "half an ELF": []byte("\x7fELF\x02\x01\x01"),
	} {
		if patches, err := clockPatches(image, 1); err == nil {
			t.Errorf("%s: it would write %v", name, patches)
		}
	}
}

// The kernel's own library: what is written is within it, in a part that nothing uses, and writing it again changes only the seconds.
func TestClockPatches_FitTheKernelsLibrary(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("no clocks are turned here")
	}
	image := ownLibrary(t)
	patches, err := clockPatches(image, -600)
	if err != nil {
		t.Fatal(err)
	}
	cave, entry := patches[0], patches[1]
	for _, b := range image[cave.at : cave.at+int64(len(cave.code))] {
		if b != 0 {
			t.Fatal("the clock is written over something")
		}
	}
	if got := int32(binary.LittleEndian.Uint32(cave.code[secondsAt:])); got != -600 {
		t.Errorf("it adds %d seconds", got)
	}
	if to := entry.at + jumpBytes + int64(int32(binary.LittleEndian.Uint32(entry.code[1:]))); to != cave.at || entry.code[0] != jump {
		t.Errorf("it jumps to %d, and the clock is at %d", to, cave.at)
	}
	for _, p := range patches {
		copy(image[p.at:], p.code)
	}
	again, err := clockPatches(image, 600)
	if err != nil || again[0].at != cave.at || again[1].at != entry.at {
		t.Errorf("again it writes to %v, %v", again, err)
	}
}

func FuzzClockPatches(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add(ownLibrary(f))
	f.Fuzz(func(t *testing.T, image []byte) {
		patches, err := clockPatches(image, 1)
		for _, p := range patches {
			if err == nil && (p.at < 0 || p.at+int64(len(p.code)) > int64(len(image))) {
				t.Errorf("it writes at %d of %d bytes", p.at, len(image))
			}
		}
	})
}

// ownLibrary is the kernel's library in this process.
func ownLibrary(t testing.TB) []byte {
	t.Helper()
	from, to, err := clockLibrary(os.Getpid())
	if err != nil {
		t.Skip(err)
	}
	memory, err := os.Open(filepath.Join("/proc", fmt.Sprint(os.Getpid()), "mem"))
	if err != nil {
		t.Skip(err)
	}
	defer memory.Close()
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		t.Skip(err)
	}
	return image
}
