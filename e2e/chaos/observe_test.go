package chaos

import (
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// The planted mistake is an Apply that goes through a map: two replicas apply the same entry and have different states.
func TestCompare_FindsReplicasThatDiverge(t *testing.T) {
	town := &town{known: map[string]bool{}, history: newHistory(nil)}
	digests := map[uint64]digest{}
	town.compare(digests, "node1", &clusterapi.State{Index: 7, Hash: "a"})
	town.compare(digests, "node2", &clusterapi.State{Index: 8, Hash: "b"})
	town.compare(digests, "node3", &clusterapi.State{Index: 7, Hash: "a"})
	if found := town.found(); len(found) > 0 {
		t.Fatal(found)
	}
	for range 2 {
		town.compare(digests, "node3", &clusterapi.State{Index: 8, Hash: "c", Broken: []string{"allocations: 3 entries"}})
	}
	found := strings.Join(town.found(), "\n")
	if len(town.found()) != 2 || !strings.Contains(found, "node2 and node3 have different states at index 8") || !strings.Contains(found, "contradicts itself") {
		t.Error(found)
	}
}

// A node that is promised more than it has is found, whatever it is short of.
func TestBeyond_FindsWhatIsPromisedTwice(t *testing.T) {
	limit := audit.Room{VCPUs: 2, MemoryMiB: 2, DiskGiB: 2}
	for _, r := range []audit.Room{{VCPUs: 3}, {MemoryMiB: 3}, {DiskGiB: 3}} {
		if !r.Beyond(limit) {
			t.Errorf("%+v is not beyond %+v", r, limit)
		}
	}
	if limit.Beyond(limit) {
		t.Error("what fits does not fit")
	}
}
