package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// step is one command of a story told with stock clients.
type step struct {
	line   int
	argv   []string
	fails  bool
	answer string // below the command: fields, or words of the error
}

// The stock clients do what an operator and a user do in a day, at one node after the other. Their answers have the fields that they have
// with a real OpenStack, and their failures its words.
func TestStockClients_AnswersHaveTheFieldsOfARealCloud(t *testing.T) {
	steps := readStory(t, filepath.Join("testdata", "clients.story"))
	s := newSimStage(t, 3)
	dir := t.TempDir()
	names := map[string]string{
		"{file}": filepath.Join(dir, "image"), "{out}": filepath.Join(dir, "saved"), "{key}": filepath.Join(dir, "key.pub"),
		"{node}": s.Nodes[2].Name(),
	}
	content := bytes.Repeat([]byte("kilonova"), 32<<10)
	s.must(os.WriteFile(names["{file}"], content, 0o600))
	s.must(os.WriteFile(names["{key}"], []byte(publicKey), 0o600))

	for i, p := range steps {
		for n := range p.argv {
			if value, ok := names[p.argv[n]]; ok {
				p.argv[n] = value
			}
		}
		if err := s.tell(s.Nodes[i%len(s.Nodes)], p); err != nil {
			t.Errorf("clients.story:%d: %s: %v", p.line, strings.Join(p.argv, " "), err)
		}
	}
	if saved, err := os.ReadFile(names["{out}"]); err != nil || !bytes.Equal(saved, content) {
		t.Errorf("the image that was saved has %d bytes of %d, %v, or others", len(saved), len(content), err)
	}
}

// publicKey is nobody's.
const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJXi7qo8cAbPvJ3wQ0aRzQvVqYxG0L6V0F9w0b1rZ8mN story@example.org\n"

// readStory reads the commands of a file; its own first lines say how it is written.
func readStory(t *testing.T, path string) []step {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "! "):
			steps = append(steps, step{line: i + 1, argv: strings.Fields(line[2:]), fails: line[0] == '!'})
		case strings.HasPrefix(line, "    ") && len(steps) > 0 && steps[len(steps)-1].answer == "":
			steps[len(steps)-1].answer = strings.TrimSpace(line)
		default:
			t.Fatalf("%s:%d: this is neither a command nor its answer: %q", path, i+1, line)
		}
	}
	return steps
}

// tell runs one command against a node and compares its answer.
func (s *stage) tell(via *cloud.Node, p step) error {
	program, args := p.argv[0], p.argv[1:]
	if program == "openstack" && p.answer != "" && !p.fails {
		args = append(slices.Clone(args), "-f", "json")
	}
	out, err := s.Client(s.ctx, via, program, args...)
	switch {
	case p.fails && err == nil:
		return fmt.Errorf("it succeeds, and should fail with %q", p.answer)
	case p.fails && !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), p.answer):
		return fmt.Errorf("it fails without %q: %w", p.answer, err)
	case p.fails:
		return nil
	case err != nil:
		return err
	case p.answer == "":
		return nil
	}
	fields, err := fieldsOfJSON(out)
	if program == "nova" {
		fields, err = fieldsOfTable(out)
	}
	if err != nil {
		return err
	}
	return sameFields(fields, strings.Split(p.answer, ", "))
}

// fieldsOfJSON gives the keys of what "-f json" prints: of one object, or of the first in a list. Progress may stand before it.
func fieldsOfJSON(out string) ([]string, error) {
	begin := strings.IndexAny(out, "{[")
	if begin < 0 {
		return nil, fmt.Errorf("it prints no JSON: %q", out)
	}
	var object map[string]any
	if json.Unmarshal([]byte(out[begin:]), &object) == nil {
		return keys(object), nil
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(out[begin:]), &list); err != nil {
		return nil, fmt.Errorf("it prints neither an object nor a list: %w: %q", err, out)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("its list is empty")
	}
	return keys(list[0]), nil
}

func keys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

// fieldsOfTable gives the columns of a table, or the first column of one of properties.
func fieldsOfTable(out string) ([]string, error) {
	var rows [][]string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "|") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows = append(rows, cells)
	}
	if len(rows) < 2 {
		return nil, fmt.Errorf("it prints no table with rows: %q", out)
	}
	if rows[0][0] != "Property" {
		return rows[0], nil
	}
	var fields []string
	for _, r := range rows[1:] {
		if r[0] != "" { // else the value goes on
			fields = append(fields, r[0])
		}
	}
	return fields, nil
}

func sameFields(got, want []string) error {
	var missing, surplus []string
	for _, w := range want {
		if !slices.Contains(got, w) {
			missing = append(missing, w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			surplus = append(surplus, g)
		}
	}
	if len(missing)+len(surplus) == 0 {
		return nil
	}
	return fmt.Errorf("its fields lack %q, and %q are not the real one's", missing, surplus)
}
