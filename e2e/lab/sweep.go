package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sweepTimeout = 15 * time.Second
	sweepPoll    = 20 * time.Millisecond
)

// Sweep removes what labs left behind whose process was killed. Labs that are in use are not touched.
func Sweep() error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	return eachDead(func(c *claim) error { return c.clean() })
}

// Leftovers lists what exists of labs that no process owns: an empty list means that nothing was left behind.
func Leftovers() ([]string, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	var all []string
	err := eachDead(func(c *claim) error {
		found, err := c.remains()
		all = append(all, found...)
		return err
	})
	return all, err
}

// eachDead calls do for every index that nobody owns.
func eachDead(do func(*claim) error) error {
	for i := range maxLabs {
		c, err := lockIndex(i)
		if errors.Is(err, errBusy) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(do(c), c.release()); err != nil {
			return fmt.Errorf("sweep lab %d: %w", i, err)
		}
	}
	return nil
}

// remains describes what exists under the claim's index.
func (c *claim) remains() ([]string, error) {
	var found []string
	for _, pid := range processesOf(c.dir()) {
		found = append(found, fmt.Sprintf("process %d", pid))
	}
	links, err := labLinks()
	if err != nil {
		return nil, err
	}
	for _, l := range links[c.index] {
		found = append(found, "link "+l.Attrs().Name)
	}
	mounts, err := mountsUnder(c.dir())
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		found = append(found, "mount "+m)
	}
	loops, err := loopDevices()
	if err != nil {
		return nil, err
	}
	for file, device := range loops {
		if isUnder(c.dir(), file) {
			found = append(found, "loop device "+device)
		}
	}
	if _, err := os.Lstat(c.dir()); err == nil {
		found = append(found, "directory "+c.dir())
	}
	return found, nil
}

// clean removes all that remains describes, in the order in which one part holds the other.
func (c *claim) clean() error {
	if err := c.killAll(); err != nil {
		return err
	}
	if err := removeLinks(c.index); err != nil {
		return err
	}
	mounts, err := mountsUnder(c.dir())
	if err != nil {
		return err
	}
	slices.Reverse(mounts) // Inner mounts come later in the table.
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", m, err)
		}
	}
	if err := c.detachLoops(); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dir()); err != nil {
		return fmt.Errorf("remove lab directory: %w", err)
	}
	return nil
}

// killAll kills the lab's processes and waits until they are gone. Those of a host go with its PID 1.
func (c *claim) killAll() error {
	for deadline := time.Now().Add(sweepTimeout); ; time.Sleep(sweepPoll) {
		pids := processesOf(c.dir())
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill processes of %s: %v still there after %s", c.dir(), pids, sweepTimeout)
		}
		for _, pid := range pids {
			thawFor(pid, c.dir())
			_ = unix.Kill(pid, unix.SIGKILL) // One that is gone already is what we want.
		}
	}
}

// thawFor thaws the disk that a process of a dead lab may be waiting for: while it waits, it cannot be killed.
func thawFor(pid int, dir string) {
	thaw(filepath.Join("/proc", strconv.Itoa(pid), "root", dir, dataName))
}

// thaw thaws the file system at path. One that is not frozen refuses.
func thaw(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.IoctlSetInt(int(f.Fd()), thawCall, 0)
}

// detachLoops frees loop devices on the lab's files that no mount holds any more.
func (c *claim) detachLoops() error {
	for deadline := time.Now().Add(sweepTimeout); ; time.Sleep(sweepPoll) {
		loops, err := loopDevices()
		if err != nil {
			return err
		}
		left := 0
		for file, device := range loops {
			if isUnder(c.dir(), file) {
				left++
				c.freeLoop(device)
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("detach loop devices of %s: %d still there after %s", c.dir(), left, sweepTimeout)
		}
	}
}

// freeLoop frees a loop device as far as it can: it may be about to go by itself.
func (c *claim) freeLoop(device string) {
	// A file system that was frozen when its last mount went stays with the kernel, and only a new mount can
	// reach it to thaw it.
	at := filepath.Join(c.dir(), dataName)
	err := os.MkdirAll(at, 0o755)
	if err == nil {
		err = unix.Mount(device, at, "ext4", 0, "")
	}
	if err == nil {
		thaw(at)
		_ = unix.Unmount(at, unix.MNT_DETACH)
	}
	_ = exec.Command("losetup", "--detach", device).Run()
}

// processesOf returns the processes that were started for the lab in dir. Guests' QEMUs are not among them
// (libvirt gives them an environment of their own), but they die with their host.
func processesOf(dir string) []int {
	mark := []byte(dirEnv + "=" + dir)
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil {
			continue // Gone meanwhile.
		}
		if slices.ContainsFunc(bytes.Split(env, []byte{0}), func(kv []byte) bool { return bytes.Equal(kv, mark) }) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// mountsUnder returns the machine's own mount points below dir, in the order in which they were mounted.
func mountsUnder(dir string) ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		// The fifth field is the mount point (proc_pid_mountinfo(5)).
		if fields := strings.Fields(line); len(fields) > 4 && isUnder(dir, fields[4]) {
			found = append(found, fields[4])
		}
	}
	return found, nil
}

func isUnder(dir, path string) bool { return strings.HasPrefix(path, dir+"/") }
