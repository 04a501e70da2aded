package main

import (
	"bufio"
	"io"
	"regexp"
	"strings"
)

// outcome is how a test ended.
type outcome string

const (
	passed  outcome = "ok"
	failed  outcome = "FAILED"
	skipped outcome = "SKIPPED"
)

// result is what Tempest says of one test.
type result struct {
	Name    string // e.g. "tempest.api.image.v2.test_images.ListImagesTest.test_index"; of what a class shares, its name and "setUpClass"
	Outcome outcome
	Detail  string // why it was skipped, or all that was printed of the failure
}

// maxDetail bounds how much of a failure is kept, in bytes: its end, where the exception is.
const maxDetail = 8 << 10

var (
	resultLine = regexp.MustCompile(`^\{\d+\} (.+?)(?: \[[0-9.]+s\])? \.\.\. (ok|FAILED|SKIPPED)(?:: (.*))?$`)
	ofClass    = regexp.MustCompile(`^(setUpClass|tearDownClass) \((\S+)\)$`)
)

// readResults reads what stestr prints while it runs: a line for each test, followed by the details of those that failed.
// Anything else is passed over. each may be nil; it is told of every result as it comes, still without its details.
func readResults(r io.Reader, each func(result)) ([]result, error) {
	var all []result
	var detail strings.Builder
	end := func() {
		if len(all) > 0 && all[len(all)-1].Outcome == failed {
			text := strings.TrimSpace(detail.String())
			all[len(all)-1].Detail = strings.ToValidUTF8(text[max(0, len(text)-maxDetail):], "")
		}
		detail.Reset()
	}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		if m := resultLine.FindStringSubmatch(text); m != nil {
			end()
			one := result{Name: m[1], Outcome: outcome(m[2]), Detail: m[3]}
			if c := ofClass.FindStringSubmatch(one.Name); c != nil {
				one.Name = c[2] + "." + c[1]
			}
			all = append(all, one)
			if each != nil {
				each(one)
			}
		} else if detail.Len() < 64*maxDetail {
			detail.WriteString(text + "\n")
		}
		if err == io.EOF {
			end()
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// cause is the last line of a failure that looks like an exception.
func (r *result) cause() string {
	lines := strings.Split(r.Detail, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if l := strings.TrimSpace(lines[i]); exception.MatchString(l) {
			if strings.HasPrefix(l, "tempest.lib") && i+1 < len(lines) {
				l += " " + strings.TrimSpace(lines[i+1]) // "Details: ..." stands below
			}
			return l
		}
	}
	return lines[len(lines)-1]
}

var exception = regexp.MustCompile(`^[A-Za-z_][\w.]*(Error|Exception|Exists|NotFound|Conflict|Forbidden|Unauthorized|BadRequest|Fault|NotImplemented|Mismatch|Timeout\w*|InvalidInput\w*|OverLimit|Gone|\w*Schema): `)
