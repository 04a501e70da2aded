package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The limits of STYLE: beyond them code is hard to hold in the head. Where a longer one is right, the reason stands beside
// it, in a comment that begins with "tidy:".
const (
	maxFunctionLines = 70
	maxFileLines     = 400
	maxFields        = 20
	maxParameters    = 6
	modulePath       = "github.com/kilonova/kilonova"
)

// source is one Go file of the tree.
type source struct {
	path   string // slash-separated, from the root
	folder string // "." for the root
	test   bool
	file   *ast.File
	set    *token.FileSet
}

func (s *source) line(p token.Pos) int { return s.set.Position(p).Line }

// at names a place for people and editors.
func (s *source) at(p token.Pos) string { return s.path + ":" + strconv.Itoa(s.line(p)) }

func sources(t *testing.T) []*source {
	t.Helper()
	var out []*source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(name)
		out = append(out, &source{path: slash, folder: path.Dir(slash), test: strings.HasSuffix(name, "_test.go"), file: file, set: set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("found only %d Go files: is the test run from the root?", len(out))
	}
	return out
}

// layers says what of ours each part of the tree may import, by the first folders of its path; the longest match counts. A
// part may always import what lies below itself.
var layers = map[string][]string{
	"cluster":              {},
	"raftfsm":              {"cluster"},
	"gossip":               {"cluster"},
	"placement":            {"cluster"},
	"virt":                 {"cluster"},
	"httpapi":              {"cluster", "httpapi"},
	"httpapi/image":        {"cluster", "httpapi/rest", "virt/image"},
	"httpapi/rest":         {"cluster"},
	"httpapi/identity":     {"cluster", "httpapi/rest"},
	"httpapi/schema":       {"cluster"},
	"httpapi/compute":      {"cluster", "httpapi/rest", "httpapi/schema", "httpapi/identity"},
	"httpapi/network":      {"cluster", "httpapi/rest"},
	"httpapi/clusterapi":   {"cluster", "httpapi/rest"},
	"httpapi/peer":         {"cluster"},
	"httpapi/consoleproxy": {"cluster", "httpapi/rest"},
	"httpapi/volume":       {"cluster", "httpapi/rest", "httpapi/schema"},
	"node/pki":             {"cluster"},
	"node/peernet":         {"cluster", "node/pki"},
	"node/failpoint":       {},
	"node/lead":            {"cluster", "placement"},
	"node/operate":         {"cluster", "virt", "httpapi/peer", "node/reconcile", "node/failpoint"},
	"node/mirror":          {"cluster", "virt", "httpapi/peer", "node/reconcile"},
	"node/reconcile":       {"cluster", "virt", "node/failpoint"},
	"node":                 {"cluster", "raftfsm", "gossip", "placement", "virt", "httpapi"},
	"e2e":                  {"cluster", "raftfsm", "gossip", "placement", "virt", "httpapi", "node"},
	"packaging":            {},
	".":                    {"cluster", "node", "httpapi/clusterapi"},
}

// testsMayAlso are imports of tests alone: suites and in-memory twins.
var testsMayAlso = []string{"httpapi", "httpapi/rest/resttest", "virt/virttest", "raftfsm/rafttest", "gossip/gossiptest", "e2e/lab", "e2e/guest", "httpapi/identity"}

func TestImports_ArrowsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		part := longest(s.folder)
		if part == "" {
			t.Errorf("%s: the folder %s has no layer: add it to layers in tidy_test.go, and to ARCHITECTURE.md", s.path, s.folder)
			continue
		}
		for _, imp := range s.file.Imports {
			target, ours := strings.CutPrefix(unquote(imp), modulePath+"/")
			if !ours || below(target, part) || slices.ContainsFunc(layers[part], func(a string) bool { return below(target, a) }) {
				continue
			}
			if (s.test || strings.HasSuffix(s.folder, "test")) && slices.ContainsFunc(testsMayAlso, func(a string) bool { return below(target, a) }) {
				continue
			}
			t.Errorf("%s: %s may not import %s: declare the small interface that you need, and let node wire it", s.at(imp.Pos()), part, target)
		}
	}
}

func longest(folder string) string {
	best := ""
	for part := range layers {
		if (part == folder || part != "." && below(folder, part)) && len(part) > len(best) {
			best = part
		}
	}
	return best
}

func below(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func unquote(i *ast.ImportSpec) string { return strings.Trim(i.Path.Value, `"`) }

// owners are the only folders that may use a library, so that it can be replaced in one place.
var owners = map[string][]string{
	"github.com/hashicorp/raft":           {"raftfsm"},
	"github.com/hashicorp/raft-boltdb":    {"raftfsm"},
	"github.com/hashicorp/raft-autopilot": {"raftfsm"},
	"go.etcd.io/bbolt":                    {"raftfsm"},
	"github.com/hashicorp/memberlist":     {"gossip"},
	"github.com/digitalocean/go-libvirt":  {"virt/libvirt", "virt/virttest"},
	"libvirt.org/go/libvirtxml":           {"virt/libvirt"},
	"github.com/go-chi/chi":               {"httpapi"},
	"github.com/tidwall/btree":            {"cluster"},
	"github.com/fxamacker/cbor":           {"cluster"},
	"github.com/spf13/cobra":              {"."},
	"github.com/coder/websocket":          {"httpapi/consoleproxy", ".", "e2e"}, // the proxy, and our own clients of it
	"github.com/gophercloud/gophercloud":  {".", "httpapi", "e2e"},              // a client: ours, and the tests'
	"github.com/vishvananda/netlink":      {"virt", "e2e"},
	"github.com/anishathalye/porcupine":   {"e2e/chaos"},
}

func TestImports_EachLibraryHasOneOwner(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.file.Imports {
			for library, folders := range owners {
				if !below(unquote(imp), library) && !strings.HasPrefix(unquote(imp), library+"/v") {
					continue
				}
				if !slices.ContainsFunc(folders, func(f string) bool { return s.folder == f || f != "." && below(s.folder, f) }) {
					t.Errorf("%s: only %v may use %s: ask it for what you need", s.at(imp.Pos()), folders, library)
				}
			}
		}
	}
}

// banned are calls that a package must do without: its results have to be the same everywhere.
var banned = map[string][]string{
	"cluster":   {"time.Now", "time.Since", "time.Sleep", "rand.", "os.", "net.Dial"},
	"placement": {"time.Now", "time.Since", "time.Sleep", "rand.", "os."},
}

func TestBannedCalls_PureStaysPure(t *testing.T) {
	for _, s := range sources(t) {
		calls := banned[s.folder]
		if s.test || calls == nil {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: %s starts no goroutines: its caller owns them", s.at(g.Pos()), s.folder)
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if !ok || pkg.Obj != nil {
				return true
			}
			name := pkg.Name + "." + sel.Sel.Name
			for _, b := range calls {
				if name == b || strings.HasSuffix(b, ".") && strings.HasPrefix(name, b) {
					t.Errorf("%s: %s may not call %s: let the caller pass the value in", s.at(sel.Pos()), s.folder, name)
				}
			}
			return true
		})
	}
}

func TestDocs_EveryPackageAndExportedNameHasOne(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		seen[s.folder] = s.path
		if s.file.Doc != nil {
			documented[s.folder] = true
		}
		for _, d := range s.file.Decls {
			checkDoc(t, s, d)
		}
	}
	for folder := range seen {
		if !documented[folder] {
			t.Errorf("%s: the package has no comment: add doc.go, with what it is, promises and relies on", folder)
		}
	}
}

func checkDoc(t *testing.T, s *source, d ast.Decl) {
	t.Helper()
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !trivial(d) {
			t.Errorf("%s: %s has no comment: say its meaning, units, errors and concurrency", s.at(d.Pos()), d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
				t.Errorf("%s: %s has no comment: say what it is", s.at(ts.Pos()), ts.Name.Name)
			}
		}
	}
}

// trivial are methods that only satisfy an interface of the standard library or of cluster, whose comment would say nothing.
func trivial(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Kind", "Error", "Unwrap", "Len", "Less", "Swap"}, d.Name.Name)
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	e := d.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if index, ok := e.(*ast.IndexExpr); ok {
		e = index.X
	}
	id, ok := e.(*ast.Ident)
	return ok && id.IsExported()
}

func TestSizes_CodeFitsInTheHead(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if n := s.set.File(s.file.Pos()).LineCount(); n > maxFileLines && !excused(s, s.file.Package) {
			t.Errorf("%s has %d lines, the limit is %d: a file is one concept, split it", s.path, n, maxFileLines)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				checkFunction(t, s, n)
			case *ast.StructType:
				if f := n.Fields.NumFields(); f > maxFields && !excused(s, n.Pos()) {
					t.Errorf("%s: a struct of %d fields, the limit is %d: give it parts", s.at(n.Pos()), f, maxFields)
				}
			}
			return true
		})
	}
}

func checkFunction(t *testing.T, s *source, f *ast.FuncDecl) {
	t.Helper()
	if excused(s, f.Pos()) {
		return
	}
	if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunctionLines {
		t.Errorf("%s: %s has %d lines, the limit is %d: give its steps names", s.at(f.Pos()), f.Name.Name, n, maxFunctionLines)
	}
	if n := f.Type.Params.NumFields(); n > maxParameters {
		t.Errorf("%s: %s takes %d parameters, the limit is %d: group them in a type", s.at(f.Pos()), f.Name.Name, n, maxParameters)
	}
}

// excused tells whether a comment beginning with "tidy:" stands on the line or within the three lines above it.
func excused(s *source, p token.Pos) bool {
	line := s.line(p)
	for _, g := range s.file.Comments {
		for _, c := range g.List {
			l := s.line(c.Pos())
			if l >= line-3 && l <= line && strings.HasPrefix(strings.TrimSpace(strings.TrimPrefix(c.Text, "//")), "tidy:") {
				return true
			}
		}
	}
	return false
}

func TestNames_NoAttics(t *testing.T) {
	attics := []string{"util", "utils", "common", "helper", "helpers", "manager", "misc", "base"}
	for _, s := range sources(t) {
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
		if slices.Contains(attics, s.file.Name.Name) || slices.Contains(attics, stem) && stem != "base" {
			t.Errorf("%s: name it after the one concept that it holds", s.path)
		}
	}
}
