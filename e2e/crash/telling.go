package crash

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// How much is told again of what went wrong, where the end of the output is all that is kept.
const (
	toldFaults = 8   // of these no more
	toldLines  = 12  // what the nodes' logs say of the server of one
	toldLength = 400 // bytes of a line
)

// fault is something that went wrong, with the server that it is about; "": with the cluster.
type fault struct{ text, server string }

// tell gives the first faults again, each with the last that the nodes logged about its server.
func (t *town) tell(faults []fault) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults", len(faults))
	for i, f := range faults[:min(len(faults), toldFaults)] {
		fmt.Fprintf(&b, "\n%d. %s", i+1, shorten(f.text))
		if f.server == "" {
			continue
		}
		for _, line := range t.logged(f.server) {
			b.WriteString("\n   " + line)
		}
	}
	return b.String()
}

// logged is the last that the nodes logged about a server, in the order of time.
func (t *town) logged(server string) []string {
	type entry struct{ at, line string }
	var all []entry
	for _, p := range t.peers {
		log, err := os.ReadFile(p.log())
		if err != nil {
			continue
		}
		last := "" // a line without a time belongs to the one before
		for line := range bytes.Lines(log) {
			at, rest, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
			if stamp, ok := strings.CutPrefix(at, "time="); ok && found {
				last = stamp
			} else {
				rest = string(line)
			}
			if strings.Contains(rest, server) {
				all = append(all, entry{last, shorten(last + " " + p.name + " " + strings.TrimSpace(rest))})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	var lines []string
	for _, e := range all[max(0, len(all)-toldLines):] {
		lines = append(lines, e.line)
	}
	return lines
}

func shorten(text string) string {
	if len(text) <= toldLength {
		return text
	}
	return strings.ToValidUTF8(text[:toldLength], "") + "..."
}
