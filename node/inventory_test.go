package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kilonova/kilonova/cluster"
)

// A hypervisor may be full of strange domains with names that anybody made up, and fail with a page of text. What a node tells of it has
// to be something that the state takes, or the node could tell nothing more at all.
func TestInventory_TellsOnlyWhatTheStateTakes(t *testing.T) {
	var strange []string
	for i := range 5000 {
		strange = append(strange, fmt.Sprintf("%d\x00\n\xff%s", i, strings.Repeat("é", 300)))
	}
	b := newBook(t)
	have, _ := b.View().Node(soleNode)
	n := have.Clone()
	n.Host.Quarantine = listed(strange)
	n.Host.Trouble = trouble(errors.New(strings.Repeat("\x00é", 2000)))
	if res := b.apply(&cluster.UpdateNode{Node: *n}); res.Err != nil {
		t.Fatal(res.Err)
	}
	last := n.Host.Quarantine[len(n.Host.Quarantine)-1]
	if len(n.Host.Quarantine) != maxQuarantine || last != fmt.Sprintf("and %d more", 5000-maxQuarantine+1) || !utf8.ValidString(n.Host.Trouble) {
		t.Errorf("%d entries, the last %q", len(n.Host.Quarantine), last)
	}
}
