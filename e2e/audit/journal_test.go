package audit

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A host writes half a line and dies. Its successor cuts that off and goes on, and later puts a shorter file in its place.
func TestTail_FollowsAHostThroughItsDeath(t *testing.T) {
	Path := filepath.Join(t.TempDir(), "sim.json")
	in := Tail{Path: Path}
	defer in.Close()
	var got []string
	Read := func(want ...string) {
		t.Helper()
		got = nil
		if err := in.Read(func(e Entry) { got = append(got, e.ID) }); err != nil {
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
	Read()
	whole := `{"id":"a"}` + "\n"
	write(Path, whole+`{"id":"b"`)
	Read("a")
	Read()
	if err := os.Truncate(Path, int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	write(Path, `{"id":"c"}`+"\n")
	Read("c")
	write(Path, `{"id":"d"}`+"\n")
	write(Path+".new", `{"id":"e"}`+"\n")
	if err := os.Rename(Path+".new", Path); err != nil {
		t.Fatal(err)
	}
	Read("d", "e")
	write(Path, "nonsense\n")
	if err := in.Read(func(Entry) {}); err == nil {
		t.Error("nonsense was taken")
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte(`{"id":"a","record":{"power":2,"boots":[{"on":"2030-01-01T00:00:00Z","ran":5}],"storage":{"files":[{"id":"root"}]}}}` + "\n"))
	f.Add([]byte("{}\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		Path := filepath.Join(t.TempDir(), "sim.json")
		if err := os.WriteFile(Path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		in := Tail{Path: Path}
		defer in.Close()
		c := NewChronicle()
		_ = in.Read(func(e Entry) { c.Take("a", e) })
		c.Twice()
	})
}

// A host loses its power, and its disk is mounted again in another place. No line is read twice.
func TestTail_GoesOnWhereItWasParked(t *testing.T) {
	dir := t.TempDir()
	in := Tail{Path: filepath.Join(dir, "sim.json")}
	defer in.Close()
	var got []string
	for i, line := range []string{"a", "b"} {
		f, err := os.OpenFile(in.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"id":"` + line + `"}` + "\n"); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		if err := in.Read(func(e Entry) { got = append(got, e.ID) }); err != nil {
			t.Fatal(err)
		}
		if err := in.Park(); err != nil {
			t.Fatal(err)
		}
		moved := filepath.Join(dir, "moved"+line)
		if i == 0 {
			if err := os.Rename(in.Path, moved); err != nil {
				t.Fatal(err)
			}
			in.Path = moved
		}
	}
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("read %q", got)
	}
	if err := os.WriteFile(in.Path, []byte(`{"id":"c"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := in.Read(func(e Entry) { got = append(got, e.ID) }); err != nil || len(got) != 3 {
		t.Errorf("a shorter file took its place, and read is %q, %v", got, err)
	}
}
