package lead

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// guardedOn puts instances on the sole node that are guarded there, each with a shared volume to boot from, and a priority.
func guardedOn(t *testing.T, b *book, priorities ...int) (ids []cluster.InstanceID) {
	t.Helper()
	for i, p := range priorities {
		id := cluster.InstanceID(fmt.Sprintf("22222222-2222-4222-8222-%012d", i))
		boot := cluster.Volume{ID: cluster.VolumeID(fmt.Sprintf("33333333-2222-4222-8222-%012d", i)), Project: "p1", User: "u1", Name: "boot", SizeGiB: 1, Type: "shared"}
		attached := cluster.Attachment{ID: cluster.AttachmentID(fmt.Sprintf("44444444-2222-4222-8222-%012d", i)), Boot: true}
		res := b.apply(&cluster.CreateInstances{Request: "req-1", Project: "p1", User: "u1",
			Spec: cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64}, Boot: cluster.BootSource{Volume: true},
				Metadata: map[string]string{cluster.KeyHA: "true", cluster.KeyHAPriority: fmt.Sprint(p)}},
			Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web", Node: soleNode, Explanation: &cluster.Explanation{Node: soleNode},
				Volumes: []cluster.NewVolume{{New: &boot, Attachment: attached}}}}})
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		in, _ := b.View().Instance(id)
		b.apply(&cluster.GuardInstances{Node: soleNode, Guards: []cluster.Guard{{ID: id, Epoch: in.Epoch}}})
		ids = append(ids, id)
	}
	return ids
}

// sharing is a pair of nodes with a directory in common.
func sharing(t *testing.T) *book {
	b := twoNodes(t, true)
	for _, id := range []cluster.NodeID{soleNode, otherNode} {
		n, _ := b.View().Node(id)
		c := n.Clone()
		c.Host.Traits = append(c.Host.Traits, cluster.TraitSharedVolumes)
		b.apply(&cluster.UpdateNode{Node: *c})
	}
	return b
}

// A node is lost. Its guarded instances are started elsewhere, the important ones first, and not more than so many at the same time.
func TestLead_StartsElsewhereByPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sharing(t)
		ids := guardedOn(t, b, 10, 90, 50)
		s := b.View().Settings()
		b.apply(&cluster.PutSettings{Settings: cluster.Settings{Revision: s.Revision, Lease: s.Lease, Restarts: 1}})
		b.apply(&cluster.LoseNode{Node: soleNode})
		b.leadMoves(time.Second, Lifecycle{}, nil)
		for i, want := range []cluster.NodeID{soleNode, otherNode, soleNode} {
			if in, _ := b.View().Instance(ids[i]); in.Node != want {
				t.Errorf("first, instance %d is on %s", i, in.Node)
			}
		}
		in, _ := b.View().Instance(ids[1])
		b.apply(&cluster.ReportInstances{Node: otherNode, Reports: []cluster.InstanceReport{{
			ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning, Boot: in.Boot}}})
		b.leadMoves(time.Second, Lifecycle{}, nil)
		for i, want := range []cluster.NodeID{soleNode, otherNode, otherNode} {
			if in, _ := b.View().Instance(ids[i]); in.Node != want {
				t.Errorf("then, instance %d is on %s", i, in.Node)
			}
		}
	})
}

// No other node takes it. It waits, and goes there as soon as one does.
func TestLead_WhatFindsNoNodeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sharing(t)
		id := guardedOn(t, b, 50)[0]
		b.apply(&cluster.SetNodeService{ID: otherNode, Service: cluster.ServiceState{Disabled: true}})
		b.apply(&cluster.LoseNode{Node: soleNode})
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		if in, _ := b.View().Instance(id); in.Op == nil || in.Op.Step != cluster.StepPlacing || in.Status.VM == cluster.VMError {
			t.Fatalf("without room: %+v, %+v", in.Status, in.Op)
		}
		b.apply(&cluster.SetNodeService{ID: otherNode})
		b.leadMoves(time.Minute, Lifecycle{}, nil)
		if in, _ := b.View().Instance(id); in.Node != otherNode {
			t.Fatalf("with room: on %s, %+v", in.Node, in.Op)
		}
	})
}

// What would become of the instances of a node is asked without taking any room.
func TestChooser_WithoutNodeTakesNoRoom(t *testing.T) {
	b := sharing(t)
	ids := guardedOn(t, b, 50, 50)
	c := NewChooser(1, b.View, func() map[cluster.NodeID]placement.Hint { return nil }, nil)
	for range 100 {
		fates := c.WithoutNode(soleNode)
		if len(fates) != len(ids) || fates[ids[0]] != otherNode || fates[ids[1]] != otherNode {
			t.Fatalf("fates %v", fates)
		}
	}
	b.apply(&cluster.SetNodeService{ID: otherNode, Service: cluster.ServiceState{Disabled: true}})
	if fates := c.WithoutNode(soleNode); fates[ids[0]] != "" {
		t.Errorf("there is no other node: %v", fates)
	}
}
