package lab

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// ErrNoClock says that wall clocks can only be turned on machines of another kind: the code that is put into programs is amd64's.
var ErrNoClock = errors.New("turn a wall clock: not on " + runtime.GOARCH)

// askedClock is what programs call for the time, in the library that the kernel maps into each of them (vdso(7)).
const askedClock = "__vdso_clock_gettime"

// wrongClock is what is called in its place: it asks the kernel, and adds seconds to the answer if that is the wall clock's.
//
//	mov  $228, %eax        SYS_clock_gettime; the clock is in %edi, the place for the answer in %rsi
//	syscall
//	test %edi, %edi        CLOCK_REALTIME is 0
//	jne  over
//	addq $seconds, (%rsi)
//	over: ret
var wrongClock = []byte{0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0x85, 0xff, 0x75, 7, 0x48, 0x81, 0x06, 0, 0, 0, 0, 0xc3}

const (
	secondsAt = 14         // where the seconds stand in wrongClock, in 32 bits
	jump      = byte(0xe9) // to an address that is told from the instruction's end, in 32 bits
	jumpBytes = 5
)

// ShiftClock makes the wall clock of the process wrong by so many seconds from now on, to the bound of 68 years: 0 makes it right again. Its monotonic clocks, and
// those of other processes, go on as they were. It works on programs that ask the kernel's library for the time, as Go's do, and is
// done to the process itself, so it takes no other build: time namespaces (time_namespaces(7)) know no wall clock, and a static program loads no other library.
func (p *Process) ShiftClock(by time.Duration) error {
	if runtime.GOARCH != "amd64" {
		return ErrNoClock
	}
	seconds := by / time.Second
	if seconds > math.MaxInt32 || seconds < math.MinInt32 {
		return fmt.Errorf("turn the clock of %s: %s is too far", p.Name, by)
	}
	if err := p.standStill(); err != nil {
		return err
	}
	if err := errors.Join(shiftClock(p.PID(), int32(seconds)), p.Signal(syscall.SIGCONT)); err != nil {
		return fmt.Errorf("turn the clock of %s: %w", p.Name, err)
	}
	return nil
}

// standStill stops all threads of the process, so that none of them is in the code that is about to change.
func (p *Process) standStill() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(killWait); ; time.Sleep(time.Millisecond) {
		if stopped(p.PID()) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("stop %s: it has ended", p.Name)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("stop %s: it still runs after %s", p.Name, killWait)
		}
	}
}

// stopped tells whether all threads of a process are (proc_pid_stat(5)).
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, t := range threads {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // that thread has ended
		}
		if _, rest, ok := strings.Cut(string(text), ") "); !ok || !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}

func shiftClock(pid int, seconds int32) error {
	from, to, err := clockLibrary(pid)
	if err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return fmt.Errorf("read the kernel's library: %w", err)
	}
	patches, err := clockPatches(image, seconds)
	if err != nil {
		return err
	}
	for _, patch := range patches {
		if _, err := memory.WriteAt(patch.code, from+patch.at); err != nil {
			return fmt.Errorf("write to the kernel's library: %w", err)
		}
	}
	return nil
}

// clockLibrary is where the kernel's library is in a process (proc_pid_maps(5)).
func clockLibrary(pid int) (from, to int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for area := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(area), "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(area, "%x-%x", &from, &to); err != nil {
			return 0, 0, fmt.Errorf("find the kernel's library: %w", err)
		}
		return from, to, nil
	}
	return 0, 0, errors.New("find the kernel's library: the process has none")
}

// patch is code that is to be at some place in the library.
type patch struct {
	at   int64
	code []byte
}

// clockPatches gives what makes the library's clock wrong: wrongClock in the unused end of its last page, and a jump to it at the beginning of what is asked. The
// jump is written last. One that is there already, and what it leads to, is written again.
func clockPatches(image []byte, seconds int32) ([]patch, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read the kernel's library: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read the kernel's library: %w", err)
	}
	entry := int64(-1)
	for _, s := range symbols {
		if s.Name == askedClock && s.Size >= jumpBytes && s.Value < uint64(len(image)-jumpBytes) {
			entry = int64(s.Value)
		}
	}
	if entry < 0 {
		return nil, fmt.Errorf("read the kernel's library: it has no %s", askedClock)
	}
	code := bytes.Clone(wrongClock)
	binary.LittleEndian.PutUint32(code[secondsAt:], uint32(seconds))
	at := int64(len(image) - len(code))
	same := bytes.Equal(image[at:at+secondsAt], wrongClock[:secondsAt])
	if unused := len(bytes.TrimRight(image, "\x00")); !same && int64(unused)+1 > at {
		return nil, errors.New("the kernel's library has no room for a clock")
	}
	to := binary.LittleEndian.AppendUint32([]byte{jump}, uint32(at-entry-jumpBytes))
	return []patch{{at, code}, {entry, to}}, nil
}
