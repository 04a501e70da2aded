package chaos

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Of a directory's files one is damaged, whichever the dice choose: a single bit of it, or its end is gone. The others stay as they are.
func TestDamage_ChangesOneBitOrCutsOneFile(t *testing.T) {
	whole := map[string][]byte{"raft.db": bytes.Repeat([]byte("log"), 1000), "snapshots/1/state.bin": bytes.Repeat([]byte("state"), 200), "canary": []byte("canary"), "none": nil}
	dice := rand.New(rand.NewPCG(1, 1))
	met := map[string]bool{}
	for range 200 {
		dir := t.TempDir()
		for name, content := range whole {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		what, err := damage(dir, dice.Uint64())
		if err != nil {
			t.Fatal(err)
		}
		changed := 0
		for name, content := range whole {
			now, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(now, content) {
				continue
			}
			changed++
			if len(now) < len(content) && bytes.HasPrefix(content, now) {
				met["cut "+name] = true
			} else if bits := differ(now, content); bits != 1 {
				t.Fatalf("%s: %d bits of %s differ", what, bits, name)
			} else {
				met["flip "+name] = true
			}
		}
		if changed != 1 {
			t.Fatalf("%s: %d files changed", what, changed)
		}
	}
	if len(met) != 4 {
		t.Errorf("of what can be done to two files, this was: %v", met)
	}
	if _, err := damage(t.TempDir(), 1); err == nil {
		t.Error("nothing was damaged, without an error")
	}
}

// differ counts the bits in which two texts of the same length differ; -1: they have not.
func differ(a, b []byte) (bits int) {
	if len(a) != len(b) {
		return -1
	}
	for i := range a {
		for x := a[i] ^ b[i]; x != 0; x &= x - 1 {
			bits++
		}
	}
	return bits
}
