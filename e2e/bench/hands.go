package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	handPoll    = 5 * time.Millisecond
	handTimeout = 3 * time.Minute
)

// hands are a virsh on a host that waits for commands, as somebody who does by hand what Kilonova does would have open. That it is
// open already keeps the start of a program out of the figures. It is safe for concurrent use; one command at a time is carried out.
type hands struct {
	host  *lab.Host
	cmd   *exec.Cmd
	input io.WriteCloser
	lines chan string

	mu   sync.Mutex
	told int
}

func newHands(h *lab.Host) (*hands, error) {
	x := &hands{host: h, cmd: exec.Command("virsh", "--connect", "qemu:///system"), lines: make(chan string, 1)}
	var err error
	if x.input, err = x.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := x.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	x.cmd.Stderr = x.cmd.Stdout
	if err := h.StartCommand(x.cmd); err != nil {
		return nil, err
	}
	go func() { // ends with the virsh
		defer close(x.lines)
		for in := bufio.NewScanner(output); in.Scan(); {
			x.lines <- in.Text()
		}
	}()
	return x, nil
}

// do gives virsh one command, and says what it answered and how long that took.
func (x *hands) do(ctx context.Context, words ...string) (said string, took time.Duration, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.told++
	end := fmt.Sprintf("done-%d", x.told)
	start := time.Now()
	if _, err := fmt.Fprintf(x.input, "%s\necho %s\n", strings.Join(words, " "), end); err != nil {
		return "", 0, err
	}
	deadline := time.NewTimer(handTimeout)
	defer deadline.Stop()
	var answer []string
	for {
		select {
		case line, open := <-x.lines:
			if !open {
				return "", 0, fmt.Errorf("virsh %s on %s: it ended: %s", words[0], x.host.Name, strings.Join(answer, "; "))
			}
			if line == end {
				took = time.Since(start)
				said = strings.Join(answer, "\n")
				if _, complaint, failed := strings.Cut(said, "error: "); failed {
					return said, took, fmt.Errorf("virsh %s on %s: %s", words[0], x.host.Name, complaint)
				}
				return said, took, nil
			}
			if !strings.HasPrefix(line, "virsh # ") { // its own echo of what it was told
				answer = append(answer, line)
			}
		case <-deadline.C:
			return "", 0, fmt.Errorf("virsh %s on %s: no answer within %s", words[0], x.host.Name, handTimeout)
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
	}
}

// all gives virsh several commands, one after the other.
func (x *hands) all(ctx context.Context, commands ...[]string) error {
	for _, words := range commands {
		if _, _, err := x.do(ctx, words...); err != nil {
			return err
		}
	}
	return nil
}

// until asks virsh for the state of a domain until it is the wanted one.
func (x *hands) until(ctx context.Context, domain, state string) error {
	ctx, cancel := context.WithTimeout(ctx, handTimeout)
	defer cancel()
	for {
		said, _, err := x.do(ctx, "domstate", domain)
		if err != nil || strings.TrimSpace(said) == state {
			return err
		}
		if err := sleep(ctx, handPoll); err != nil {
			return fmt.Errorf("wait until domain %s is %s, it is %s: %w", domain, state, strings.TrimSpace(said), err)
		}
	}
}

func (x *hands) close() error {
	err := x.input.Close() // virsh ends with its input
	for range x.lines {
	}
	return errors.Join(err, x.cmd.Wait())
}
