package sim

import (
	"encoding/json"
	"testing"

	"github.com/kilonova/kilonova/virt"
)

// Whatever is in the file, reading it ends with records or an error, and what was read can be written again.
func FuzzParseJournal(f *testing.F) {
	r := record{Defined: true, OldDisks: true, Stamp: virt.Stamp{Cluster: "c", Instance: "i"}, Power: virt.PowerRunning,
		NICs: []nic{{MAC: "m", Bridge: "b", Addresses: []string{"a"}}}}
	line, err := json.Marshal(entry{ID: "i", Boot: "b", Record: &r})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(append(line, '\n'))
	f.Add(append(line, "\n{\"id\":\"i\"}\n{\"id\":"...))
	f.Add([]byte("null\n"))
	f.Add([]byte("{\"id\":\"x\",\"record\":{\"boots\":[{}]}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, _, whole, err := parseJournal(data)
		if err != nil {
			return
		}
		if whole < 0 || whole > int64(len(data)) {
			t.Fatalf("%d whole bytes of %d", whole, len(data))
		}
		for id, r := range records {
			if _, err := json.Marshal(entry{ID: id, Record: &r}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
