package resttest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Golden is the shape of one recorded reply.
type Golden struct {
	Name    string
	Request string // "POST /v3/projects": what was asked, for the reader
	Status  int
	Headers []string // "Vary", or "Content-Type: application/json" where the value matters
	Body    *Shape   // nil: no body, or one that is not JSON
}

// String gives the golden's text.
func (g *Golden) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- %s --\n%s\n%d\n", g.Name, g.Request, g.Status)
	for _, h := range g.Headers {
		b.WriteString("header " + h + "\n")
	}
	if g.Body != nil {
		b.WriteString(g.Body.String())
	}
	return b.String()
}

// Goldens are those of one file, by name.
type Goldens map[string]*Golden

// LoadGoldens reads a file of goldens.
func LoadGoldens(t testing.TB, path string) Goldens {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := ParseGoldens(string(data))
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return all
}

// ParseGoldens reads the text of goldens.
func ParseGoldens(text string) (Goldens, error) {
	all := Goldens{}
	for _, section := range strings.Split("\n"+text, "\n-- ")[1:] {
		head, rest, _ := strings.Cut(section, " --\n")
		lines := strings.SplitN(rest, "\n", 3)
		if len(lines) < 3 {
			return nil, fmt.Errorf("parse golden %q: too short", head)
		}
		g := &Golden{Name: head, Request: lines[0]}
		var err error
		if g.Status, err = strconv.Atoi(lines[1]); err != nil {
			return nil, fmt.Errorf("parse golden %q: %w", head, err)
		}
		body := lines[2]
		for strings.HasPrefix(body, "header ") {
			line, more, _ := strings.Cut(body, "\n")
			g.Headers, body = append(g.Headers, strings.TrimPrefix(line, "header ")), more
		}
		if strings.TrimSpace(body) != "" {
			if g.Body, err = ParseShape(strings.TrimRight(body, "\n") + "\n"); err != nil {
				return nil, fmt.Errorf("parse golden %q: %w", head, err)
			}
		}
		all[head] = g
	}
	return all, nil
}

// Check fails t where a reply differs from the golden of that name: in its status, a header that is missing, or the shape of
// its body. ignore are the places, as "/project/extra", whose differences are meant. It gives the decoded body.
func (g Goldens) Check(t testing.TB, name string, res *http.Response, ignore ...string) any {
	t.Helper()
	want, ok := g[name]
	if !ok {
		t.Fatalf("there is no golden %q", name)
	}
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: read body: %v", name, err)
	}
	if res.StatusCode != want.Status {
		t.Errorf("%s (%s): status %d instead of %d: %s", name, want.Request, res.StatusCode, want.Status, data)
	}
	for _, h := range want.Headers {
		if !hasHeader(res.Header, h) {
			t.Errorf("%s (%s): no header %s", name, want.Request, h)
		}
	}
	if want.Body == nil {
		return nil
	}
	var body any
	if err := json.Unmarshal(data, &body); err != nil {
		t.Fatalf("%s (%s): body is not JSON: %v: %s", name, want.Request, err, data)
	}
	for _, d := range Diff(want.Body, ShapeOf(body)) {
		if !slices.ContainsFunc(ignore, func(p string) bool { return strings.HasPrefix(d, p) }) {
			t.Errorf("%s (%s): %s", name, want.Request, d)
		}
	}
	return body
}

// hasHeader looks for "Name" or "Name: value"; parameters of a media type do not matter.
func hasHeader(h http.Header, want string) bool {
	name, value, ok := strings.Cut(want, ": ")
	got := h.Values(name)
	if !ok {
		return len(got) > 0
	}
	return slices.ContainsFunc(got, func(v string) bool {
		media, _, err := mime.ParseMediaType(v)
		return v == value || err == nil && media == value
	})
}
