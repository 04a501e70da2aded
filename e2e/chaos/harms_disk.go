package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	longestStall = 13 * time.Second // the host's processes cannot be killed meanwhile
	ballast      = "ballast"        // the file that fills a disk
	starvedQuota = 5000             // µs of processor time in each 100 ms
)

// stalled lets the disk hang.
func stalled(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	if c.last > longestStall {
		return nil, nil
	}
	return &wound{what: "stall the disk of " + p.Name(), peers: []*peer{p}, mend: func(context.Context) error { return p.Host.ThawDisk() }}, p.Host.FreezeDisk()
}

// filled fills the disk to the last block. The daemon ends, and begins again until there is room.
func filled(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	path, err := p.file(ballast)
	if err != nil {
		return nil, err
	}
	p.excuse(c.last + endSlack)
	return &wound{what: "fill the disk of " + p.Name(), peers: []*peer{p}, mend: func(context.Context) error {
		defer p.excuse(endSlack)
		return os.Remove(path)
	}}, fill(path)
}

// fill makes a file as large as it can be.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(0)
	for step := int64(256 << 20); step >= 4<<10; {
		err := unix.Fallocate(int(f.Fd()), 0, size, step)
		switch {
		case err == nil:
			size += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		default:
			return err
		}
	}
	return nil
}

// unsynced lets each sync of the daemon fail. It has to end at the first one, and begins again; then it is well.
func unsynced(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	p.mu.Lock()
	pid := p.Daemon.PID()
	p.mu.Unlock()
	p.excuse(c.last + endSlack)
	cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO", "-p", fmt.Sprint(pid))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &wound{what: "fail the syncs of " + p.Name(), peers: []*peer{p}, mend: func(context.Context) error {
		defer p.excuse(endSlack)
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets go, unless it went with the daemon
		_ = cmd.Wait()                          // by that signal
		return nil
	}}, nil
}

// starved leaves the daemon a twentieth of a processor.
func starved(_ context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	home, err := ownGroup()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	pid := p.Daemon.PID()
	p.mu.Unlock()
	group := filepath.Join(home, fmt.Sprintf("kilonova-chaos-%d", pid))
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, err
	}
	err = errors.Join(put(filepath.Join(group, "cpu.cfs_quota_us"), starvedQuota), put(filepath.Join(group, "cgroup.procs"), pid))
	return &wound{what: "starve " + p.Name(), peers: []*peer{p}, mend: func(context.Context) error {
		if err := put(filepath.Join(home, "cgroup.procs"), pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		return os.Remove(group)
	}}, err
}

func put(path string, number int) error { return os.WriteFile(path, []byte(fmt.Sprint(number)), 0) }

// ownGroup is the directory of this process's own group of processor time (cgroup v1, as cgroups(7) has it).
func ownGroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) == 3 && strings.Contains(","+part[1]+",", ",cpu,") {
			return filepath.Join("/sys/fs/cgroup/cpu", part[2]), nil
		}
	}
	return "", errors.New("find this process's group of processor time: there is no cgroup v1 for it")
}
