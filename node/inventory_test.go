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
	s := cluster.NewState()
	n := &cluster.Node{ID: "6a3c8a52-0000-4000-8000-000000000001", Name: "n1", Address: "192.0.2.1", Zone: "nova",
		Host: cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true}}
	if _, err := s.Apply(1, []cluster.Command{{Time: 1, Op: &cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c1", CACert: []byte("c"), CAKey: []byte("k"), GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
		Node: *n, Roles: []cluster.Role{{ID: "r1", Name: "admin", BuiltIn: true}},
		Project: cluster.Project{ID: "p1", Name: "admin"}, Admin: cluster.User{ID: "u1", Name: "admin", PasswordHash: "x"},
	}}}); err != nil {
		t.Fatal(err)
	}
	n.Host.Quarantine = listed(strange)
	n.Host.Trouble = trouble(errors.New(strings.Repeat("\x00é", 2000)))
	if res, err := s.Apply(2, []cluster.Command{{Time: 2, Op: &cluster.UpdateNode{Node: *n}}}); err != nil || res[0].Err != nil {
		t.Fatal(err, res)
	}
	last := n.Host.Quarantine[len(n.Host.Quarantine)-1]
	if len(n.Host.Quarantine) != maxQuarantine || last != fmt.Sprintf("and %d more", 5000-maxQuarantine+1) || !utf8.ValidString(n.Host.Trouble) {
		t.Errorf("%d entries, the last %q", len(n.Host.Quarantine), last)
	}
}
