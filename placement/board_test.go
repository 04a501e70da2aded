package placement

import (
	"fmt"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"pgregory.net/rapid"
)

// The shifts of a board must give what a plain look at every pair of cells gives.
func TestBoard_ClosedHoldsExactlyTheCellsBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b board
		for range rapid.IntRange(0, 6).Draw(t, "cells") {
			c := rapid.IntRange(0, cells-1).Draw(t, "cell")
			b[c/64] |= 1 << (c % 64)
		}
		closed := b.closed()
		for cell := range cells {
			from := cornerOf(cell)
			want := false
			for at := range cells {
				set := b[at/64]>>(at%64)&1 == 1
				masked := at/64 >= from.disk && atLeast(from.vcpu, from.memory)>>(at%64)&1 == 1
				if masked != cornerOf(at).covers(from) {
					t.Fatalf("atLeast(%+v) has cell %+v: %v", from, cornerOf(at), masked)
				}
				want = want || set && masked
			}
			if got := closed[cell/64]>>(cell%64)&1 == 1; got != want {
				t.Fatalf("closed has %+v: %v, want %v", from, got, want)
			}
		}
	})
}

func cornerOf(cell int) corner {
	c := corner{vcpu: cell % levels, memory: cell / levels % levels, disk: cell / levels / levels}
	if c.cell() != cell {
		panic("cell and corner disagree")
	}
	return c
}

// A size is inside a level exactly when nothing of that level can be too small for it.
func TestBorders_InsideIsNeverTooSmall(t *testing.T) {
	b := newGrid([]cluster.Resources{{VCPUs: 1}, {VCPUs: 2}, {VCPUs: 8}, {VCPUs: 2}}).vcpu
	for _, c := range []struct {
		size         int32
		level, above int
	}{{-3, 0, 0}, {0, 0, 0}, {1, 1, 1}, {2, 2, 2}, {3, 2, 3}, {7, 2, 3}, {8, 3, 3}, {9, 3, 4}} {
		if b.level(c.size) != c.level || b.above(c.size) != c.above {
			t.Errorf("size %d: level %d, above %d; want %d, %d", c.size, b.level(c.size), b.above(c.size), c.level, c.above)
		}
	}
	var many []cluster.Resources
	for i := range 100 {
		many = append(many, cluster.Resources{VCPUs: int64(i + 1)})
	}
	if b := newGrid(many).vcpu; b[0] != 1 || b[levels-2] != 100 {
		t.Errorf("the borders of 1 to 100 are %v", b)
	}
}

// The only node of its kind goes, and comes back. A request that asked for it before must see that, although which classes it
// can use is remembered.
func TestChoose_AClassMayGoAndComeBack(t *testing.T) {
	x := plainIndex(2*exactNodes, Options{})
	rare := plainNode("rare")
	rare.Host.Traits = []string{"CUSTOM_RARE"}
	spec := specOf(small)
	whatever := NewRequest(&spec, nil, nil)
	spec.Flavor.ExtraSpecs = map[string]string{"trait:CUSTOM_RARE": "required"}
	only := NewRequest(&spec, nil, nil)
	for range 3 {
		if _, ok := x.Choose(&only); ok {
			t.Fatal("found a node that is not there")
		}
		x.SetNode(rare, cluster.Resources{})
		if c, ok := x.Choose(&only); !ok || c.Node != rare.ID {
			t.Fatalf("did not find the node: %v", c)
		}
		if _, ok := x.Choose(&whatever); !ok {
			t.Fatal("found nothing")
		}
		x.RemoveNode(rare.ID)
		if _, ok := x.Choose(&whatever); !ok {
			t.Fatal("found nothing without the node")
		}
	}
}

// The boards are used up. The first node of the mixed class must be found by a request that was remembered before.
func TestChoose_TheMixedClassIsNoticed(t *testing.T) {
	x := New(Options{})
	add := func(i int) {
		n := plainNode(fmt.Sprintf("n%d", i))
		n.Host.Traits = []string{fmt.Sprintf("CUSTOM_%d", i)}
		x.SetNode(n, cluster.Resources{VCPUs: 8})
	}
	for i := range maxClasses - 1 {
		add(i)
	}
	r := Request{Resources: small}
	if _, ok := x.Choose(&r); ok {
		t.Fatal("all nodes are full")
	}
	free := plainNode("free")
	x.SetNode(free, cluster.Resources{})
	if c, ok := x.Choose(&r); !ok || c.Node != free.ID || x.hosts[c.slot].class != mixedClass {
		t.Fatalf("chose %v, %v", c, ok)
	}
}
