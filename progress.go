package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a transfer is: a bar on a terminal, else a line for each tenth. It is written to, as a second
// reader of what is transferred. It is for one goroutine.
type progress struct {
	to    io.Writer
	label string
	total int64
	done  int64
	tenth int64 // the last one that was told
	bar   *progressbar.ProgressBar
}

// newProgress begins; total is in bytes.
func newProgress(to io.Writer, label string, total int64) *progress {
	p := &progress{to: to, label: label, total: total}
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
	if p.total > 0 {
		if tenth := p.done * 10 / p.total; tenth > p.tenth {
			p.tenth = tenth
			fmt.Fprintf(p.to, "%s: %d %% of %s\n", p.label, tenth*10, bytesSize(p.total))
		}
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
