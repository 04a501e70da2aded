package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// How often a step that takes long shows that it goes on.
const (
	aliveTerminal = 200 * time.Millisecond
	aliveLog      = 15 * time.Second
)

// progress shows one line for each step: on a terminal the running step counts its seconds in place, in a log
// it says now and then that it goes on.
type progress struct {
	out      io.Writer
	terminal bool
	every    time.Duration

	mu sync.Mutex // for out: steps tick while others speak
}

// clearLine takes the running step's line away on a terminal.
const clearLine = "\r\033[K"

func newProgress(out *os.File) *progress {
	p := &progress{out: out, terminal: term.IsTerminal(int(out.Fd())), every: aliveLog}
	if p.terminal {
		p.every = aliveTerminal
	}
	return p
}

// step runs do and shows how long it takes.
func (p *progress) step(what string, do func() error) error {
	began := time.Now()
	if !p.terminal {
		p.say("==> %s", what)
	}
	done := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() { p.tick(what, began, done) })
	err := do()
	close(done)
	ticking.Wait()
	took := time.Since(began).Seconds()
	switch {
	case err != nil && p.terminal:
		p.say("[failed %.1f s] %s", took, what)
	case err != nil:
		p.say("    failed after %.1f s", took)
	case p.terminal:
		p.say("[%5.1f s] %s", took, what)
	default:
		p.say("    %.1f s", took)
	}
	return err
}

// tick shows that a step goes on, until it is done.
func (p *progress) tick(what string, began time.Time, done <-chan struct{}) {
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		seconds := time.Since(began).Seconds()
		if !p.terminal {
			p.say("    still at it (%.0f s)", seconds)
			continue
		}
		p.mu.Lock()
		fmt.Fprintf(p.out, clearLine+"[%5.1f s] %s ...", seconds, what)
		p.mu.Unlock()
	}
}

// say prints a line.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		format = clearLine + format
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// quote prints what a program or a guest said, set off from our own words.
func (p *progress) quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		p.say("    | %s", strings.TrimRight(line, "\r\n"))
	}
}
