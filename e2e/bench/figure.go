package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one thing that was measured, several times.
type figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"` // of the runs, in their order

	// Limit is the goal: at most that, or at least that with AtLeast. 0: it has none.
	Limit   float64 `json:"limit,omitempty"`
	AtLeast bool    `json:"at_least,omitempty"`

	During machine `json:"during"`
}

// machine is what else happened while something was measured.
type machine struct {
	SyncMedian time.Duration `json:"fdatasync_median_ns,omitempty"` // of 4 KiB
	SyncP99    time.Duration `json:"fdatasync_p99_ns,omitempty"`
	Others     float64       `json:"others_cpu"` // share of the processors that other programs had, 0 to 1
}

// Met tells whether the median reaches the goal.
func (f figure) Met() bool {
	m := median(f.Values)
	return f.Limit == 0 || f.AtLeast && m >= f.Limit || !f.AtLeast && m <= f.Limit
}

func (f figure) goal() string {
	switch {
	case f.Limit == 0:
		return ""
	case f.AtLeast:
		return ">= " + number(f.Limit)
	}
	return "<= " + number(f.Limit)
}

func (f figure) verdict() string {
	switch {
	case len(f.Values) == 0:
		return "not measured"
	case f.Limit == 0:
		return ""
	case f.Met():
		return "met"
	}
	return "MISSED"
}

// number writes a figure with three digits that count.
func number(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "-"
	case a >= 100 || a == math.Trunc(a):
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

// writeTable prints the figures for people.
func writeTable(out io.Writer, figures []figure) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tGOAL\tMEDIAN\tSPREAD\tRUNS\t\tFDATASYNC p50/p99\tOTHERS' CPU")
	for _, f := range figures {
		spread := ""
		if len(f.Values) > 1 {
			spread = number(slices.Min(f.Values)) + " to " + number(slices.Max(f.Values))
		}
		sync := ""
		if f.During.SyncMedian > 0 {
			sync = fmt.Sprintf("%s/%s ms", number(millis(f.During.SyncMedian)), number(millis(f.During.SyncP99)))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%.0f %%\n", f.Name, f.goal(),
			strings.TrimSpace(number(median(f.Values))+" "+f.Unit), spread, len(f.Values), f.verdict(), sync, 100*f.During.Others)
	}
	w.Flush()
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median is not a number for no values.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile gives the value below which the share q of the values lies.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
