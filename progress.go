package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// sayEvery is how often a transfer is heard of where there is no terminal.
const sayEvery = 2 * time.Second

// progress shows how far a transfer is: a bar on a terminal, else a line now and then. What is transferred is written to
// it, too. It is for one goroutine.
type progress struct {
	to    io.Writer
	label string
	total int64
	done  int64
	said  time.Time
	now   func() time.Time
	bar   *progressbar.ProgressBar
}

// newProgress begins; total is in bytes.
func newProgress(to io.Writer, label string, total int64) *progress {
	p := &progress{to: to, label: label, total: total, now: time.Now, said: time.Now()}
	if f, ok := to.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(to), progressbar.OptionSetDescription(label),
			progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true), progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true))
	}
	return p
}

// Write counts.
func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	if p.bar != nil {
		_ = p.bar.Add(len(b)) // a terminal that is gone does not end the transfer
		return len(b), nil
	}
	if now := p.now(); p.done == p.total || now.Sub(p.said) >= sayEvery {
		p.said = now
		fmt.Fprintf(p.to, "%s: %s of %s\n", p.label, bytesSize(p.done), bytesSize(p.total))
	}
	return len(b), nil
}

// close leaves the terminal on a line of its own.
func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Exit()
		fmt.Fprintln(p.to)
	}
}
