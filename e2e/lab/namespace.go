package lab

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initTimeout bounds the wait for the first process of a namespace to say that its mounts are in place.
const initTimeout = 30 * time.Second

// namespace is a set of Linux namespaces and the process that holds them. The holder reads from a pipe whose
// other end only this process has, so it ends, and with it everything in its PID namespace, when this process
// does, however that happens.
type namespace struct {
	holder *exec.Cmd
	pipe   io.Closer
	files  []*os.File
}

// newNamespace starts script with sh in fresh namespaces of the given kinds and waits for it to print "up".
// The script must then become a process that ends with its standard input.
func newNamespace(kinds uintptr, labDir, script string, args ...string) (*namespace, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-euc", script, "lab-init"}, args...)...)
	cmd.Env = append(os.Environ(), dirEnv+"="+labDir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: kinds, Setsid: true}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start namespace: %w", err)
	}
	n := &namespace{holder: cmd, pipe: stdin}
	late := time.AfterFunc(initTimeout, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	late.Stop()
	if err != nil || line != "up\n" {
		_ = n.kill()
		return nil, fmt.Errorf("start namespace: %s", strings.TrimSpace(complaint.String()))
	}
	if err := n.open(kinds); err != nil {
		_ = n.kill()
		return nil, err
	}
	return n, nil
}

// open keeps a handle on each namespace, so that they can be entered without trusting a reused PID.
func (n *namespace) open(kinds uintptr) error {
	for _, k := range []struct {
		kind uintptr
		name string
	}{
		{unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWUTS, "uts"}, {unix.CLONE_NEWNET, "net"}, {unix.CLONE_NEWNS, "mnt"},
	} {
		if kinds&k.kind == 0 {
			continue
		}
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", n.pid(), k.name))
		if err != nil {
			return fmt.Errorf("open namespace: %w", err)
		}
		n.files = append(n.files, f)
	}
	return nil
}

// pid returns the holder's process ID as the machine sees it.
func (n *namespace) pid() int { return n.holder.Process.Pid }

// do calls fn on a thread inside the namespaces; processes that fn starts are inside, too. The thread ends
// with fn, so fn must not hand work to other goroutines.
func (n *namespace) do(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			result <- n.enter(fn) // Never unlocked: the thread must not go back into use outside.
			return
		}
		// Go parks the main thread for ever where it ends others, and it would hold on to the namespaces, and
		// so to the mounts in them. While we keep it, nobody else runs on it.
		defer runtime.UnlockOSThread()
		result <- n.do(fn)
	}()
	return <-result
}

func (n *namespace) enter(fn func() error) error {
	// A mount namespace may only be entered by a thread that shares its root and directory with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare directory: %w", err)
	}
	for _, f := range n.files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("enter %s: %w", f.Name(), err)
		}
	}
	return fn()
}

// file returns the handle of one kind of namespace: "pid", "uts", "net" or "mnt".
func (n *namespace) file(kind string) *os.File {
	for _, f := range n.files {
		if strings.HasSuffix(f.Name(), "/ns/"+kind) {
			return f
		}
	}
	return nil
}

// kill ends the holder and with it every process of its PID namespace, and returns when all are gone.
func (n *namespace) kill() error {
	err := n.holder.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	_ = n.pipe.Close()
	_ = n.holder.Wait() // The kernel lets PID 1 be reaped only after all others.
	for _, f := range n.files {
		_ = f.Close()
	}
	n.files = nil
	if err != nil {
		return fmt.Errorf("kill namespace: %w", err)
	}
	return nil
}
