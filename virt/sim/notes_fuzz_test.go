package sim

import "testing"

// A simulated guest's disk begins with anything. Its notes are short, and come back as they were written.
func FuzzParseNotes(f *testing.F) {
	f.Add(notes{Boots: 3, Text: "hello"}.bytes())
	f.Add([]byte(notesMagic + "boots 1\ntext 99999999999999999999\n"))
	f.Add([]byte(notesMagic + "boots -1\ntext 0\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := parseNotes(b)
		if again := parseNotes(n.bytes()); len(n.Text) <= maxText && again != n {
			t.Errorf("%+v came back as %+v", n, again)
		}
	})
}
