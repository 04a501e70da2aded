package chaos

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/virt"
)

// booted is what a host writes of a server that was booted at some hour, and whose disk counts so many boots.
func booted(t *testing.T, hour, boots int) audit.Entry {
	t.Helper()
	var e audit.Entry
	text := fmt.Sprintf(`{"id":"i1","record":{"defined":true,"power":%d,"boots":[{"on":"2026-01-01T%02d:00:00Z","since":"2026-01-01T%02d:00:00Z"}],
		"storage":{"epoch":1,"files":[{"epoch":1,"id":"root","notes":{"boots":%d}}]}}}`, virt.PowerRunning, hour, hour, boots)
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// A server was booted on one host, and then on another from the copy of its disk. A copy that lacked something knows nothing of the first boot.
func TestForgetful_FindsAStartFromAnOldCopy(t *testing.T) {
	for there, found := range map[int]int{2: 0, 1: 1} {
		tn := &town{chronicle: audit.NewChronicle()}
		tn.chronicle.Take("a", booted(t, 1, 1))
		tn.chronicle.Take("b", booted(t, 2, there))
		s := audit.Server{ID: "i1", Status: "ACTIVE", Host: "b", Metadata: map[string]string{"kilonova:replicas": "2"}}
		if got := tn.forgetful(&audit.Account{Servers: []audit.Server{s}, Hosts: tn.chronicle.Hosts()}); len(got) != found {
			t.Errorf("the disk counts %d boots of 2: %q", there, got)
		}
	}
}
