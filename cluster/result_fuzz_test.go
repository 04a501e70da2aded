package cluster

import (
	"errors"
	"testing"
)

// A peer answers a proposal with whatever it likes. It is a result, corrupt, or of a newer build.
func FuzzDecodeResult(f *testing.F) {
	for _, r := range []Result{{}, {Err: Errorf(Conflict, "taken")}} {
		b, err := EncodeResult(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xa1, 0x61})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeResult(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownCommand) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if _, err := EncodeResult(r); err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
	})
}
