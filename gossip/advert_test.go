package gossip

import (
	"bytes"
	"encoding/hex"
	"flag"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

func largestAdvert() Advert {
	return Advert{
		Commands: math.MaxUint32, Version: strings.Repeat("v", maxVersion), API: netip.MustParseAddrPort("[2001:db8::1]:65535"),
		Role:  RoleHypervisor | RoleVoter | RoleReady,
		Total: cluster.Resources{VCPUs: math.MaxInt32, MemoryMiB: math.MaxInt64, DiskGiB: math.MaxInt64},
		Load:  Load{MemoryFree: 100, DiskFree: 100, IOPressure: 100, MemoryPressure: 100, DiskFull: true},
	}
}

// The bytes of an advert are fixed: nodes of different builds read each other's. This file may gain files, and the old ones
// must stay readable.
func TestAdvert_BytesAreFixed(t *testing.T) {
	for name, a := range map[string]Advert{"plain": advertOf(7), "largest": largestAdvert(), "empty": {}} {
		b, err := a.encode()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "advert_"+name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s is %x, fixed as %x", name, b, want)
		}
		got, err := decodeAdvert(append(want, "added by a later build"...))
		if err != nil || got != a {
			t.Errorf("%s was read as %+v, %v", name, got, err)
		}
		if len(b) > MaxAdvert {
			t.Errorf("%s has %d bytes", name, len(b))
		}
	}
}

// Whatever arrives, decoding does not panic, and what it accepts says the same after another round.
func FuzzDecodeAdvert(f *testing.F) {
	for _, a := range []Advert{advertOf(1), largestAdvert(), {}} {
		b, err := a.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte{advertFormat, 0, 2, 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xff}, MaxAdvert+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAdvert(b)
		if err != nil {
			return
		}
		again, err := a.encode()
		if err != nil {
			t.Fatalf("read %+v, which cannot be written: %v", a, err)
		}
		if back, err := decodeAdvert(again); err != nil || back != a {
			t.Fatalf("read %+v, then %+v, %v", a, back, err)
		}
	})
}

// A value near the level that was sent keeps it; a value clearly elsewhere moves to the nearest level.
func TestSettle_WaveringKeepsTheLevel(t *testing.T) {
	for _, c := range []struct{ value, last, want uint8 }{
		{50, 50, 50}, {53, 50, 50}, {47, 50, 50}, {54, 50, 55}, {46, 50, 45}, {0, 50, 0}, {100, 95, 100}, {255, 0, 100}, {2, 0, 0},
	} {
		if got := settle(c.value, c.last, freeStep); got != c.want {
			t.Errorf("settle(%d, %d) = %d, want %d", c.value, c.last, got, c.want)
		}
	}
}
