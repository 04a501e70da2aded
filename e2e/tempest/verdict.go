package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// known is a line of expected.txt: tests that fail, and why they may.
type known struct {
	Tests  *regexp.Regexp // matches the names from their beginning to their end, without "tempest.api."
	Reason string
}

// separator stands between the two parts of a line.
const separator = " -> "

// readExpected reads a list of failures that are known. Empty lines and those that begin with "#" say nothing.
func readExpected(r io.Reader) ([]known, error) {
	var all []known
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		tests, reason, ok := strings.Cut(line, separator)
		if !ok || strings.TrimSpace(tests) == "" || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("line %d: want TESTS%sREASON", n, separator)
		}
		re, err := regexp.Compile(`^tempest\.api\.(?:` + strings.TrimSpace(tests) + `)$`)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, known{re, strings.TrimSpace(reason)})
	}
	return all, lines.Err()
}

// judge compares results with the failures that are known, and says what differs. In a whole run, where every test of the
// list took part, an entry that no failure bears out is a difference too.
func judge(results []result, list []known, whole bool) []string {
	var wrong []string
	used := make([]bool, len(list))
	for _, r := range results {
		i := slices.IndexFunc(list, func(k known) bool { return k.Tests.MatchString(r.Name) })
		switch {
		case r.Outcome == failed && i < 0:
			wrong = append(wrong, fmt.Sprintf("%s fails: %s", r.Name, r.cause()))
		case r.Outcome == failed:
			used[i] = true
		case r.Outcome == passed && i >= 0:
			wrong = append(wrong, fmt.Sprintf("%s passes now: take it out of expected.txt (%s)", r.Name, list[i].Reason))
			used[i] = true
		}
	}
	for i, k := range list {
		if whole && !used[i] {
			wrong = append(wrong, fmt.Sprintf("no test fails that expected.txt lists as %s: take it out", k.Tests))
		}
	}
	return wrong
}

// tally counts the results of each service, e.g. "compute: 280 passed, 90 failed, 100 skipped".
func tally(results []result) []string {
	counts := map[string]map[outcome]int{}
	var services []string
	for _, r := range results {
		service, _, _ := strings.Cut(strings.TrimPrefix(r.Name, "tempest.api."), ".")
		if counts[service] == nil {
			counts[service] = map[outcome]int{}
			services = append(services, service)
		}
		counts[service][r.Outcome]++
	}
	slices.Sort(services)
	lines := make([]string, 0, len(services))
	for _, s := range services {
		lines = append(lines, fmt.Sprintf("%s: %d passed, %d failed, %d skipped", s, counts[s][passed], counts[s][failed], counts[s][skipped]))
	}
	return lines
}
