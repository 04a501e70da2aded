package lead

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// growing is two nodes that share a directory, in which the first is to make a volume larger.
func growing(t *testing.T) *book {
	b := twoNodes(t, true)
	for _, id := range []cluster.NodeID{soleNode, otherNode} {
		n, _ := b.View().Node(id)
		c := n.Clone()
		c.Host.Traits = []string{cluster.TraitSharedVolumes}
		b.apply(&cluster.UpdateNode{Node: *c})
	}
	b.apply(&cluster.CreateVolume{Volume: cluster.Volume{ID: "v", Project: "p1", User: "u1", SizeGiB: 1, Type: "shared"}})
	b.apply(&cluster.AttachVolume{Volume: "v", Attachment: cluster.Attachment{ID: "a", Instance: mover}})
	b.apply(&cluster.ReportVolumes{Node: soleNode, Volumes: []cluster.VolumeReport{{ID: "v", Generation: b.volume().Generation, SizeGiB: 1}},
		Attachments: []cluster.AttachmentReport{{Volume: "v", Instance: mover, Epoch: b.mover().Epoch, Attached: true}}})
	return b
}

func (b *book) volume() *cluster.Volume {
	v, _ := b.View().Volume("v")
	return v
}

// letGo takes the volume from its guest, and asks for it to grow.
func (b *book) letGo() {
	b.apply(&cluster.DetachVolume{Volume: "v", Instance: mover})
	b.apply(&cluster.ReportVolumes{Node: soleNode, Attachments: []cluster.AttachmentReport{
		{Volume: "v", Instance: mover, Epoch: b.mover().Epoch, Detached: true}}})
	b.apply(&cluster.ExtendVolume{ID: "v", SizeGiB: 2})
}

func silent(id cluster.NodeID, d time.Duration) map[cluster.NodeID]placement.Hint {
	return map[cluster.NodeID]placement.Hint{id: {Silent: true, SilentFor: d}}
}

// The node that is to do it is silent: for a moment, which is nothing, and then for so long that the other one does it. When that one is
// silent, too, nobody is asked.
func TestTend_WhatASilentNodeWasToDoIsGivenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := growing(t)
		b.letGo()
		b.leadMoves(time.Minute, Lifecycle{}, silent(soleNode, tendAfter/2))
		if at := b.volume().File.Node; at != soleNode {
			t.Fatalf("after a moment it is with %s", at)
		}
		both := silent(soleNode, 2*tendAfter)
		both[otherNode] = placement.Hint{Silent: true}
		b.leadMoves(time.Minute, Lifecycle{}, both)
		if at := b.volume().File.Node; at != soleNode {
			t.Fatalf("nobody answers, and it is with %s", at)
		}
		before := b.volume().Generation
		b.leadMoves(time.Second, Lifecycle{}, silent(soleNode, 2*tendAfter))
		if v := b.volume(); v.File.Node != otherNode || v.Generation != before+1 {
			t.Fatalf("it is %+v", v)
		}
	})
}

// A guest on the silent node may be writing to the volume: it stays where it is, however long that takes, and the log does not fill.
func TestTend_AVolumeOfAGuestThereStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := growing(t)
		b.apply(&cluster.ExtendVolume{ID: "v", SizeGiB: 2, InUse: true})
		before := b.proposals
		b.leadMoves(10*time.Minute, Lifecycle{}, silent(soleNode, 2*tendAfter))
		if v := b.volume(); v.File.Node != soleNode || b.proposals != before {
			t.Fatalf("it is with %s after %d proposals", v.File.Node, b.proposals-before)
		}
	})
}
