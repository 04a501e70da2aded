package placement

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// An instance on the third of three nodes is to move. Its own node and one that was tried are ruled out, so it goes to the
// one that is left; a host that it was once made for does not hold it back.
func TestForMove_GoesWhereItIsNotRuledOut(t *testing.T) {
	l := newLedger(t, 3)
	c := l.create(0, 1)
	c.Items[0].Node, c.Spec.Scheduling.Host = cluster.NodeID(uid(3)), "n3"
	l.do(c)
	v := l.state.View()
	in, _ := v.Instance(c.Items[0].ID)
	x := NewIndex(v, Options{})
	r := ForMove(v, in, nil, []cluster.NodeID{cluster.NodeID(uid(3)), cluster.NodeID(uid(1))}, "", false)
	if got, ok := x.Choose(&r); !ok || got.Node != cluster.NodeID(uid(2)) {
		t.Errorf("chose %q, %v", got.Node, ok)
	}
	if r.Resources != in.Resources() || len(r.needs.labels) != 1 {
		t.Errorf("asks for %+v", r)
	}
}

// A resize to the same node needs the new size there beside the old one, because both are held until it is confirmed.
func TestForMove_KeepsTheRoomThatTheInstanceHas(t *testing.T) {
	l := newLedger(t, 1)
	c := l.create(0, 1)
	c.Items[0].Node = cluster.NodeID(uid(1))
	l.do(c)
	v := l.state.View()
	in, _ := v.Instance(c.Items[0].ID)
	node, _ := v.Node(in.Node)
	x := NewIndex(v, Options{})
	larger := in.Spec.Flavor
	larger.VCPUs = node.Capacity.Limit().VCPUs - in.Spec.Flavor.VCPUs
	if r := ForMove(v, in, &larger, nil, "n1", false); !chooses(x, &r) {
		t.Errorf("%d vCPUs do not fit beside %d", larger.VCPUs, in.Spec.Flavor.VCPUs)
	}
	larger.VCPUs++
	if r := ForMove(v, in, &larger, nil, "n1", false); chooses(x, &r) {
		t.Error("the room of the instance was counted as free")
	}
}

// An operator names a node that is disabled. Only by force does the instance go there.
func TestForMove_ForcedLeavesOutEveryFilterButCapacity(t *testing.T) {
	l := newLedger(t, 2)
	c := l.create(0, 1)
	c.Items[0].Node = cluster.NodeID(uid(1))
	l.do(c)
	l.do(&cluster.SetNodeService{ID: cluster.NodeID(uid(2)), Service: cluster.ServiceState{Disabled: true}})
	v := l.state.View()
	in, _ := v.Instance(c.Items[0].ID)
	x := NewIndex(v, Options{})
	if r := ForMove(v, in, nil, []cluster.NodeID{in.Node}, "n2", false); chooses(x, &r) {
		t.Error("went to a disabled node")
	}
	if r := ForMove(v, in, nil, []cluster.NodeID{in.Node}, "n2", true); !chooses(x, &r) {
		t.Error("force did not help")
	}
	huge := in.Spec.Flavor
	huge.VCPUs = 1 << 20
	if r := ForMove(v, in, &huge, []cluster.NodeID{in.Node}, "n2", true); chooses(x, &r) {
		t.Error("force made room")
	}
}

func chooses(x *Index, r *Request) bool {
	_, ok := x.Choose(r)
	return ok
}

// The root disk of an instance is to have a copy, and one of its volumes lies on its own node alone. The instance can be nowhere else,
// and the copy can.
func TestForReplica_VolumesDoNotHoldItBack(t *testing.T) {
	l := newLedger(t, 2)
	l.do(&cluster.CreateVolume{Volume: cluster.Volume{
		ID: "v", Project: cluster.ProjectID(short(2)), User: cluster.UserID(short(3)), Name: "v", SizeGiB: 1, Type: cluster.DefaultVolumeType,
	}})
	c := l.create(0, 1)
	c.Items[0].Node = cluster.NodeID(uid(1))
	c.Items[0].Volumes = []cluster.NewVolume{{Existing: "v", Attachment: cluster.Attachment{ID: "a", Instance: c.Items[0].ID}}}
	l.do(c)
	v := l.state.View()
	in, _ := v.Instance(c.Items[0].ID)
	x := NewIndex(v, Options{})
	if r := ForMove(v, in, nil, []cluster.NodeID{in.Node}, "", false); chooses(x, &r) {
		t.Error("the instance went where its volume is not")
	}
	r := ForReplica(v, in)
	if got, ok := x.Choose(&r); !ok || got.Node != cluster.NodeID(uid(2)) {
		t.Errorf("the copy went to %q, %v", got.Node, ok)
	}
}
