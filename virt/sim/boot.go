package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The bounds of a console, which for a real guest are in bytes.
const (
	keptBoots = 4
	keptLines = 64 // of what a boot prints besides its boot messages
)

// boot is one time that the guest was on: what its memory holds. It lasts over a pause, saved memory and a live
// migration, and ends with the power.
type boot struct {
	On     time.Time `json:"on"`
	Off    time.Time `json:"off,omitzero"` // zero: it is on, or its memory is saved
	Reason string    `json:"reason,omitempty"`

	Count int           `json:"count,omitempty"` // how often its disk was booted, this time included; 0: not told
	Ran   time.Duration `json:"ran,omitempty"`   // how long its processors ran before Since
	Since time.Time     `json:"since,omitzero"`  // when they last began to run; zero: they do not
	Lines []line        `json:"lines,omitempty"` // that it printed after its boot messages
	Here  time.Duration `json:"here,omitempty"`  // how long it had run when it arrived; another node has what it printed before
}

// line is a line of the console and how long the guest had run when it came.
type line struct {
	At   time.Duration `json:"at"`
	Text string        `json:"text"`
}

// uptime is how long the guest's processors have run.
func (b *boot) uptime(now time.Time) time.Duration {
	if b.Since.IsZero() {
		return b.Ran
	}
	return b.Ran + max(now.Sub(b.Since), 0)
}

func (b *boot) freeze(now time.Time) { b.Ran, b.Since = b.uptime(now), time.Time{} }

func (b *boot) say(at time.Duration, text string) {
	kept := b.Lines
	if len(kept) >= keptLines {
		kept = kept[len(kept)-keptLines+1:]
	}
	b.Lines = append(append([]line(nil), kept...), line{At: at, Text: text})
}

// console gives the guest's serial output up to now. Each boot message appears at its share of the boot time.
func (r *record) console(now time.Time, bootTime time.Duration) string {
	var out strings.Builder
	for i := range r.Boots {
		b := &r.Boots[i]
		up := b.uptime(now)
		text := r.bootMessages(b)
		lines := make([]line, 0, len(text)+len(b.Lines))
		for j, t := range text {
			if at := bootTime * time.Duration(j) / time.Duration(len(text)-1); at <= up {
				lines = append(lines, line{At: at, Text: t})
			}
		}
		lines = append(lines, b.Lines...)
		slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.At, b.At) })
		if !b.Off.IsZero() {
			lines = append(lines, line{At: up, Text: "sim: power off: " + b.Reason})
		}
		for _, l := range lines {
			if l.At >= b.Here {
				fmt.Fprintf(&out, "[%12.6f] %s\n", l.At.Seconds(), l.Text)
			}
		}
	}
	return out.String()
}

// bootMessages is what a guest prints from power-on to its login prompt.
func (r *record) bootMessages(b *boot) []string {
	name := strings.Map(printable, r.Machine.Name)
	lines := []string{
		"Linux version 6.1.0-sim (kilonova) #1 SMP",
		fmt.Sprintf("smp: Brought up 1 node, %d CPUs", r.Machine.VCPUs),
		fmt.Sprintf("Memory: %d MiB available", r.Machine.MemoryMiB),
	}
	if f := r.Storage.bootFile(); f != nil {
		lines = append(lines, fmt.Sprintf("vda: %d GiB", f.Bytes>>30))
	}
	if b.Count > 0 {
		lines = append(lines, fmt.Sprintf("vda: boot %d of this disk", b.Count))
	}
	for i, n := range r.NICs {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("eth%d: %s %s", i, n.MAC, strings.Join(n.Addresses, " "))))
	}
	return append(lines, "Hostname set to <"+name+">", name+" login:")
}

// printable keeps a name from writing lines of its own.
func printable(c rune) rune {
	if c < ' ' || c == 0x7f {
		return '?'
	}
	return c
}
