package crash

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A host writes half a line and dies. Its successor cuts that off and goes on, and later puts a shorter file in its place.
func TestTail_FollowsAHostThroughItsDeath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sim.json")
	in := tail{path: path}
	defer in.close()
	var got []string
	read := func(want ...string) {
		t.Helper()
		got = nil
		if err := in.read(func(e entry) { got = append(got, e.ID) }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	write := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	read()
	whole := `{"id":"a"}` + "\n"
	write(path, whole+`{"id":"b"`)
	read("a")
	read()
	if err := os.Truncate(path, int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	write(path, `{"id":"c"}`+"\n")
	read("c")
	write(path, `{"id":"d"}`+"\n")
	write(path+".new", `{"id":"e"}`+"\n")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	read("d", "e")
	write(path, "nonsense\n")
	if err := in.read(func(entry) {}); err == nil {
		t.Error("nonsense was taken")
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte(`{"id":"a","record":{"power":2,"boots":[{"on":"2030-01-01T00:00:00Z","ran":5}],"storage":{"files":[{"id":"root"}]}}}` + "\n"))
	f.Add([]byte("{}\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "sim.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		in := tail{path: path}
		defer in.close()
		c := newChronicle()
		_ = in.read(func(e entry) { c.take("a", e) })
		c.twice()
	})
}
