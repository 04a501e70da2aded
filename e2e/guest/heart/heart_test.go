package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeRecords makes a ring with the records up to last.
func writeRecords(t *testing.T, last int) (string, *ring) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ring")
	r, state, err := openRing(path, os.O_RDWR|os.O_CREATE)
	if err != nil || state.records != 0 || state.lost != "" {
		t.Fatalf("a new ring: %v, %v", state, err)
	}
	t.Cleanup(func() { _ = r.file.Close() })
	for c := 1; c <= last; c++ {
		if err := r.write(record{boot: 1 + c/100, count: c, id: "0a0b0c0d"}); err != nil {
			t.Fatal(err)
		}
	}
	return path, r
}

// A ring gives back what was written, also after it went round.
func TestRing_HoldsTheNewestRecords(t *testing.T) {
	for _, last := range []int{0, 1, 17, ringBlocks - 1, ringBlocks, ringBlocks + 1, 2*ringBlocks + 5} {
		path, _ := writeRecords(t, last)
		_, state, err := openRing(path, os.O_RDONLY)
		if err != nil || state.lost != "" || state.last.count != last || state.records != min(last, ringBlocks) {
			t.Errorf("after %d records: %v, %v", last, state, err)
		}
	}
}

// What a disk may do wrong is found: a record that was lost, one that went elsewhere, one that was damaged.
func TestRing_FindsWhatIsLost(t *testing.T) {
	for name, harm := range map[string]func(block []byte) int{
		"gone":    func(block []byte) int { clear(block); return 40 },
		"damaged": func(block []byte) int { block[0] ^= 1; return 40 },
		"moved":   func([]byte) int { return 41 },
		"older":   func(block []byte) int { record{boot: 1, count: 40, id: "x"}.encode(block); return 40 + 8 },
	} {
		path, r := writeRecords(t, 50)
		if _, err := r.read(40); err != nil {
			t.Fatal(err)
		}
		at := harm(r.block)
		if _, err := r.file.WriteAt(r.block, offset(at)); err != nil {
			t.Fatal(err)
		}
		_, state, err := openRing(path, os.O_RDONLY)
		if err != nil || state.lost == "" || !strings.Contains(state.String(), "LOST") {
			t.Errorf("%s: %v, %v", name, state, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	block := make([]byte, blockBytes)
	record{boot: 1, count: 2, id: "ab"}.encode(block)
	f.Add(block)
	f.Add([]byte{})
	f.Add([]byte("1 2 ab 00000000\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := decode(in)
		if err != nil {
			return
		}
		again := make([]byte, blockBytes+len(in))
		r.encode(again)
		if got, err := decode(again); err != nil || got != r {
			t.Errorf("%v became %v, %v", r, got, err)
		}
	})
}
