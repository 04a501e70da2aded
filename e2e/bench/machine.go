package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// syncEvery is how often the disk is tried while something is measured. It is rare enough not to disturb.
	syncEvery = 50 * time.Millisecond
	syncBytes = 4096

	// ticksPerSecond is the unit of processor time in /proc, the same on every Linux that Go runs on (USER_HZ).
	ticksPerSecond = 100
)

// watch follows the machine while something is measured.
type watch struct {
	pids []int // whose processor time is not the others'
	file *os.File
	quit chan struct{}
	wg   sync.WaitGroup

	took  []float64 // milliseconds of each fdatasync; valid after stop
	began cpuTimes
}

// cpuTimes are sums since some time in the past.
type cpuTimes struct {
	busy, all, ours time.Duration
}

// startWatch begins to watch: the disk of dir, and the processors. What this program and pids use is not the others'.
func startWatch(dir string, pids []int) (*watch, error) {
	f, err := os.CreateTemp(dir, "fdatasync")
	if err != nil {
		return nil, fmt.Errorf("try the disk: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil { // it lives until it is closed, however this program ends
		f.Close()
		return nil, err
	}
	w := &watch{pids: pids, file: f, quit: make(chan struct{})}
	if w.began, err = w.times(); err != nil {
		f.Close()
		return nil, err
	}
	w.wg.Go(w.trySyncs)
	return w, nil
}

func (w *watch) trySyncs() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	block := make([]byte, syncBytes)
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		start := time.Now()
		if _, err := w.file.WriteAt(block, 0); err != nil {
			continue
		}
		if syscall.Fdatasync(int(w.file.Fd())) == nil {
			w.took = append(w.took, millis(time.Since(start)))
		}
	}
}

// stop ends the watch and says what it saw.
func (w *watch) stop() machine {
	close(w.quit)
	w.wg.Wait()
	w.file.Close()
	m := machine{Others: othersShare(w.began, w.began)}
	if now, err := w.times(); err == nil {
		m.Others = othersShare(w.began, now)
	}
	if len(w.took) > 0 {
		m.SyncMedian = time.Duration(median(w.took) * float64(time.Millisecond))
		m.SyncP99 = time.Duration(quantile(w.took, 0.99) * float64(time.Millisecond))
	}
	return m
}

// othersShare is the share of the processors that others had between two times.
func othersShare(from, to cpuTimes) float64 {
	all := to.all - from.all
	if all <= 0 {
		return 0
	}
	others := (to.busy - from.busy) - (to.ours - from.ours)
	return max(0, float64(others)/float64(all))
}

func (w *watch) times() (cpuTimes, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}, err
	}
	t, err := parseCPU(string(text))
	if err != nil {
		return t, err
	}
	for _, pid := range append([]int{os.Getpid()}, w.pids...) {
		used, err := cpuOf(pid)
		if err != nil {
			return t, err
		}
		t.ours += used
	}
	return t, nil
}

// parseCPU reads the first line of /proc/stat, see proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
func parseCPU(stat string) (cpuTimes, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return cpuTimes{}, fmt.Errorf("read /proc/stat: %q", line)
	}
	var t cpuTimes
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return cpuTimes{}, fmt.Errorf("read /proc/stat: %w", err)
		}
		d := time.Duration(n) * time.Second / ticksPerSecond
		t.all += d
		if i != 3 && i != 4 {
			t.busy += d
		}
	}
	return t, nil
}

// cpuOf is how much processor time a process has used.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return parseProcess(string(text))
}

// parseProcess reads utime and stime from /proc/PID/stat, see proc(5). The program's name, in brackets, may hold anything.
func parseProcess(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("read /proc/PID/stat: %q", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read /proc/PID/stat: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read /proc/PID/stat: %w", err)
	}
	return time.Duration(user+system) * time.Second / ticksPerSecond, nil
}

// rssOf is how many bytes of memory a process has resident.
func rssOf(pid int) (int64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read VmRSS: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("read VmRSS of process %d: there is none", pid)
}
