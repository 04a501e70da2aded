package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// killWait bounds the wait for a process to go after SIGKILL.
const killWait = 10 * time.Second

// Process is a program that runs inside a host. It ends with the host's power.
type Process struct {
	Name    string
	LogPath string // on the machine: its standard output and error

	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

// StartCommand starts cmd inside the host, in a session of its own. The caller must wait for it, also after a
// power cut; Start and Run take care of that.
func (h *Host) StartCommand(cmd *exec.Cmd) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.startLocked(cmd)
}

func (h *Host) startLocked(cmd *exec.Cmd) error {
	if h.ns == nil {
		return fmt.Errorf("start %s on %s: %w", cmd.Path, h.Name, ErrPowerOff)
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, dirEnv+"="+h.lab.Dir())
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true // Ctrl-C is for the lab's process alone.
	if err := h.ns.do(cmd.Start); err != nil {
		return fmt.Errorf("start %s on %s: %w", cmd.Path, h.Name, err)
	}
	return nil
}

// Run runs a program inside the host to its end and returns its standard output. The error holds what it wrote
// to standard error.
func (h *Host) Run(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = killWait
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := h.StartCommand(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		said := strings.TrimSpace(stderr.String())
		return stdout.String(), fmt.Errorf("run %s on %s: %w: %s", strings.Join(argv, " "), h.Name, err, said)
	}
	return stdout.String(), nil
}

// Start starts a program inside the host and returns at once. Its output is appended to <name>.log in LogDir.
// The environment is this process's own with env ("K=V") on top.
func (h *Host) Start(name string, env []string, argv ...string) (*Process, error) {
	p := &Process{Name: name, LogPath: filepath.Join(h.LogDir(), name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", name, h.Name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := h.startWaited(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer h.procs.Done()
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// startWaited starts cmd and counts its waiter before PowerCut can begin to wait for it.
func (h *Host) startWaited(cmd *exec.Cmd) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.startLocked(cmd); err != nil {
		return err
	}
	h.procs.Add(1)
	return nil
}

// PID is the process ID as the machine sees it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns how it ended: nil for exit status 0.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.Name, ctx.Err())
	}
}

// Signal sends a signal. SIGSTOP and SIGCONT freeze and thaw the process. One that ended is not an error.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it is gone. Its children live on.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.awaitEnd(killWait)
}

// Stop asks the process to end with SIGTERM, waits, and kills it when it takes longer than grace.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.awaitEnd(grace); err == nil {
		return nil
	}
	return p.Kill()
}

func (p *Process) awaitEnd(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("end %s: still there after %s", p.Name, limit)
	}
}

// Log returns what the process and its namesakes before it wrote.
func (p *Process) Log() (string, error) {
	b, err := os.ReadFile(p.LogPath)
	if err != nil {
		return "", fmt.Errorf("read log of %s: %w", p.Name, err)
	}
	return string(b), nil
}
