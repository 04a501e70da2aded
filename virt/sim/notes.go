package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// notes are what a simulated disk holds: how often it was booted, and text that its guest wrote.
type notes struct {
	Boots int    `json:"boots,omitempty"`
	Text  string `json:"text,omitempty"`
}

// notesMagic is what a disk with notes begins with.
const notesMagic = "KILONOVA-SIM-DISK\n"

// maxNotes is how many bytes notes take on a disk at most: one cluster of a qcow2 image.
const maxNotes = clusterBytes

// maxText leaves room for what stands before the text.
const maxText = maxNotes / 2

// bytes gives the notes as they stand at the beginning of a disk. A disk that nobody used holds nothing.
func (n notes) bytes() []byte {
	if n == (notes{}) {
		return nil
	}
	return fmt.Appendf(nil, "%sboots %d\ntext %d\n%s", notesMagic, n.Boots, len(n.Text), n.Text)
}

// parseNotes reads the beginning of a disk. One that holds anything else has no notes.
func parseNotes(b []byte) notes {
	rest, ok := bytes.CutPrefix(b, []byte(notesMagic))
	if !ok {
		return notes{}
	}
	boots, rest, ok := number(rest, "boots ")
	if !ok || boots < 0 {
		return notes{}
	}
	size, rest, ok := number(rest, "text ")
	if !ok || size < 0 || size > len(rest) || size > maxText {
		return notes{}
	}
	return notes{Boots: boots, Text: strings.ToValidUTF8(string(rest[:size]), "?")}
}

// number reads "key N\n".
func number(b []byte, key string) (n int, rest []byte, ok bool) {
	line, rest, found := bytes.Cut(b, []byte("\n"))
	digits, ok := bytes.CutPrefix(line, []byte(key))
	if !found || !ok {
		return 0, nil, false
	}
	n, err := strconv.Atoi(string(digits))
	return n, rest, err == nil
}
