package chaos

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
)

const records = `{"id":"a","boot":"x","record":{"defined":true,"power":2,"boots":[{"on":"2030-01-01T00:00:00Z","since":"2030-01-01T00:00:00Z"}]}}
{"id":"b","boot":"x","record":{"defined":true,"power":2,"boots":[{"on":"2030-01-01T00:00:00Z","since":"2030-01-01T00:00:00Z"}]}}
{"id":"b","boot":"x"}
{"id":"c","boot":"x","record":{"defined":true,"power":1}}
{"id":"d","boot":"x","record":{"def`

// A guest is ended by hand: its host's records say that it ran until then. One that was removed, one that is off, and a line that was never written are
// no guests to end.
func TestEnded_IsWhatTheHostWouldHaveWritten(t *testing.T) {
	all, err := running([]byte(records))
	if err != nil || len(all) != 1 || all["a"] == nil {
		t.Fatalf("%v run, %v", all, err)
	}
	now := time.Date(2030, 1, 1, 0, 0, 7, 0, time.UTC)
	line, err := json.Marshal(ended(all["a"], true, now))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sim.json")
	if err := os.WriteFile(path, append(line, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	in := audit.Tail{Path: path}
	defer in.Close()
	err = in.Read(func(e audit.Entry) {
		b := e.Record.Last()
		if e.Record.Runs() || e.Record.Defined || b.Ran != 7*time.Second || !b.Off.Equal(now) || e.ID != "a" {
			t.Errorf("its record is %+v", e.Record)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func FuzzRunning(f *testing.F) {
	f.Add([]byte(records))
	f.Add([]byte("{}\nnull\n[]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := running(text)
		for id, line := range all {
			if err == nil && len(ended(line, false, time.Now())) == 0 {
				t.Errorf("%q has no line", id)
			}
		}
	})
}
