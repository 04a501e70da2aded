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
	longestStall   = 13 * time.Second // the host's processes cannot be killed meanwhile
	ballast        = "ballast"        // the file that fills a disk
	groupPatience  = 10 * time.Second // that a process group may take to be empty
	groupPoll      = 50 * time.Millisecond
	tracerPatience = 3 * time.Second // that a tracer may take to let go
	starvedQuota   = 5000            // µs of processor time in each 100 ms
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
		letGo(cmd)
		return nil
	}}, nil
}

// letGo ends a tracer, which went with the daemon if that has ended. If the daemon ends at this very moment, strace may wait for ever for its first thread, which is
// gone for good only when the tracer has taken note of all others.
func letGo(tracer *exec.Cmd) {
	_ = tracer.Process.Signal(syscall.SIGTERM)
	patience := time.AfterFunc(tracerPatience, func() { _ = tracer.Process.Kill() })
	defer patience.Stop()
	_ = tracer.Wait() // by one of those signals
}

// starved leaves the daemon a twentieth of a processor.
func starved(_ context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	p.mu.Lock()
	pid := p.Daemon.PID()
	p.mu.Unlock()
	g, err := groupOf(pid)
	if err != nil {
		return nil, err
	}
	group := filepath.Join(g.parent, fmt.Sprintf("kilonova-chaos-%d", pid))
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, err
	}
	err = errors.Join(put(filepath.Join(group, g.quota), starvedQuota), put(filepath.Join(group, "cgroup.procs"), pid))
	return &wound{what: "starve " + p.Name(), peers: []*peer{p}, mend: func(context.Context) error {
		return disband(group, g.home)
	}}, err
}

// disband takes all processes out of a group, those that the daemon began meanwhile with it, and removes it.
func disband(group, home string) error {
	for until := time.Now().Add(groupPatience); ; time.Sleep(groupPoll) {
		text, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, pid := range strings.Fields(string(text)) {
			if err := os.WriteFile(filepath.Join(home, "cgroup.procs"), []byte(pid), 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		err = os.Remove(group) // a process that is ending keeps it busy for a moment
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
			return err
		}
	}
}

func put(path string, number int) error { return os.WriteFile(path, []byte(fmt.Sprint(number)), 0) }

// timeGroup is a process's group of processor time (cgroups(7)).
type timeGroup struct {
	home   string // the group's directory
	parent string // where a group can be made that takes processes and has a quota
	quota  string // the file that bounds the processor time of each 100 ms
}

// groupOf finds a process's group: in the hierarchy of its own that cgroup v1 has, else in the only one of cgroup v2, where groups with
// processes have no groups below them, so that another is made at the top.
func groupOf(pid int) (timeGroup, error) {
	const root = "/sys/fs/cgroup"
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return timeGroup{}, err
	}
	var g timeGroup
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(part) != 3:
		case strings.Contains(","+part[1]+",", ",cpu,"):
			home := filepath.Join(root, "cpu", part[2])
			return timeGroup{home, home, "cpu.cfs_quota_us"}, nil
		case part[0] == "0" && part[1] == "":
			g = timeGroup{filepath.Join(root, part[2]), root, "cpu.max"}
		}
	}
	if g.home == "" {
		return g, errors.New("find a process's group of processor time: it is in none")
	}
	return g, os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+cpu"), 0)
}
