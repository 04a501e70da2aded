package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoTool says that a program is missing on this node. The message names the Debian package that has it.
var ErrNoTool = errors.New("program is not installed")

// limits bound one run of qemu-img.
type limits struct {
	cpu   time.Duration // of processor time
	wall  time.Duration // until it is killed, if the caller's context allows as much
	space int           // bytes of address space
}

// quick is what Nova gives qemu-img. A conversion has to read and write the whole image, and does so in up to 64 threads,
// each with a stack.
var (
	quick = limits{cpu: 30 * time.Second, wall: time.Minute, space: 1 << 30}
	long  = limits{cpu: 30 * time.Minute, wall: 2 * time.Hour, space: 4 << 30}
)

// fewArenas keeps glibc from reserving 64 MiB of address space for as many threads as the host has processors, eight
// times over: with that, a conversion ran out of it now and then (mallopt(3), M_ARENA_MAX).
const fewArenas = "MALLOC_ARENA_MAX=2"

// The bounds of what a run may print.
const (
	maxOutput   = 1 << 20
	maxComplain = 4 << 10
)

// killDelay is how long the pipes of a killed run may stay open.
const killDelay = 2 * time.Second

// program is one that is run, and the Debian package that has it.
type program struct{ name, debianPackage string }

var (
	qemuImg = program{"qemu-img", "qemu-utils"}
	mkfs    = program{"mkfs.ext4", "e2fsprogs"}
)

// run runs qemu-img under limits and gives what it printed.
func run(ctx context.Context, l limits, args ...string) ([]byte, error) {
	out, err := runProgram(ctx, qemuImg, l, args...)
	if err != nil && len(args) > 0 && !errors.Is(err, ErrNoTool) {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return out, err
}

// runProgram runs a program under limits and gives what it printed. prlimit sets them before the program begins,
// and becomes it, so that a kill reaches it.
func runProgram(ctx context.Context, p program, l limits, args ...string) ([]byte, error) {
	prlimit, err := find("prlimit", "util-linux")
	if err != nil {
		return nil, err
	}
	path, err := find(p.name, p.debianPackage)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.wall)
	defer cancel()

	cmd := exec.CommandContext(ctx, prlimit, append([]string{
		"--as=" + strconv.Itoa(l.space),
		"--cpu=" + strconv.Itoa(int(l.cpu.Seconds())),
		"--core=0", "--", path}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", fewArenas)
	cmd.WaitDelay = killDelay
	out, complaint := &bounded{max: maxOutput}, &bounded{max: maxComplain}
	cmd.Stdout, cmd.Stderr = out, complaint
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", p.name, ctx.Err())
	case err != nil:
		return nil, explain(p.name, err, string(complaint.kept))
	case out.over:
		return nil, fmt.Errorf("%s: it printed more than %d bytes", p.name, maxOutput)
	}
	return out.kept, nil
}

func find(program, debianPackage string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s: %w: install the Debian package %s", program, ErrNoTool, debianPackage)
	}
	return path, nil
}

// explain turns the end of a failed run into an error that says what happened.
func explain(name string, err error, complaint string) error {
	complaint = strings.TrimPrefix(strings.Join(strings.Fields(complaint), " "), name+": ")
	if strings.Contains(complaint, syscall.ENOSPC.Error()) || strings.Contains(complaint, "No space left on device") {
		return fmt.Errorf("%s: %s: %w", name, complaint, syscall.ENOSPC)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			if s := status.Signal(); s == syscall.SIGXCPU || s == syscall.SIGKILL {
				return fmt.Errorf("%s: it used up its processor time or was killed: %s %w", name, complaint, err)
			}
		}
	}
	if complaint == "" {
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%s: %s (%w)", name, complaint, err)
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	kept []byte
	max  int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.max-len(b.kept))
	b.over = b.over || keep < len(p)
	b.kept = append(b.kept, p[:keep]...)
	return len(p), nil
}
