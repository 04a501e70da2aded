package placement

import (
	"math/bits"
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

const (
	levels  = 8                        // of each resource
	cells   = levels * levels * levels // of a board
	buckets = 64                       // of scores
	none    = int32(-1)
)

// A cell is where a node stands by its room: disk level*64 + memory level*8 + vCPU level. So a board of cells is 8 words,
// one for each disk level, whose bits are 8 rows (memory) of 8 columns (vCPU).

// board is a set of cells.
type board [levels]uint64

// closed gives the cells from which some cell of the board has at least as much of every resource: the cells where a
// request finds something.
func (b *board) closed() board {
	var out board
	above := uint64(0)
	for d := levels - 1; d >= 0; d-- {
		above |= closedRows(b[d])
		out[d] = above
	}
	return out
}

// closedRows spreads every bit to all the lower columns and rows.
func closedRows(w uint64) uint64 {
	w |= w >> 1 & 0x7f7f7f7f7f7f7f7f
	w |= w >> 2 & 0x3f3f3f3f3f3f3f3f
	w |= w >> 4 & 0x0f0f0f0f0f0f0f0f
	w |= w >> 8
	w |= w >> 16
	w |= w >> 32
	return w
}

// atLeast gives the bits of the cells of one disk level with at least these levels of vCPU and memory.
func atLeast(vcpu, memory int) uint64 {
	columns := uint64(0xff) << vcpu & 0xff * 0x0101010101010101
	return columns &^ (1<<(8*memory) - 1)
}

// corner is the least cell that a request can use.
type corner struct{ vcpu, memory, disk int }

func (c corner) cell() int { return c.disk*levels*levels + c.memory*levels + c.vcpu }

// exists tells whether there are such cells: a corner beyond the highest level has none.
func (c corner) exists() bool { return c.vcpu < levels && c.memory < levels && c.disk < levels }

// covers tells whether this corner has at least the levels of another.
func (c corner) covers(o corner) bool {
	return c.vcpu >= o.vcpu && c.memory >= o.memory && c.disk >= o.disk
}

// borders are the sizes at which the levels above the lowest begin; ascending. Unused ones are the largest size there is.
type borders [levels - 1]int32

// level is the highest one that a size reaches.
func (b *borders) level(size int32) int {
	n := 0
	for _, border := range b {
		if size >= border {
			n++
		}
	}
	return n
}

// above is the lowest level where everything is at least as large as size.
func (b *borders) above(size int32) int {
	n := b.level(size)
	if size <= 0 || n > 0 && b[n-1] == size {
		return n
	}
	return n + 1
}

// grid tells which cell a node is in.
type grid struct{ vcpu, memory, disk borders }

// newGrid puts the borders at the sizes that are asked for. When there are too many of them, they are thinned out evenly.
func newGrid(sizes []cluster.Resources) grid {
	pick := func(of func(cluster.Resources) int64) borders {
		var distinct []int32
		for _, s := range sizes {
			if n := narrow(of(s)); n > 0 {
				distinct = append(distinct, n)
			}
		}
		slices.Sort(distinct)
		distinct = slices.Compact(distinct)
		var b borders
		for i := range b {
			switch {
			case len(distinct) > len(b):
				b[i] = distinct[i*(len(distinct)-1)/(len(b)-1)]
			case i < len(distinct):
				b[i] = distinct[i]
			default:
				b[i] = maxSize
			}
		}
		return b
	}
	return grid{
		vcpu:   pick(func(r cluster.Resources) int64 { return r.VCPUs }),
		memory: pick(func(r cluster.Resources) int64 { return r.MemoryMiB }),
		disk:   pick(func(r cluster.Resources) int64 { return r.DiskGiB }),
	}
}

// cell tells where a node with this room stands.
func (g *grid) cell(r room) int { return g.border(r).cell() }

// border is the corner of the cells where some nodes may have the room.
func (g *grid) border(r room) corner {
	return corner{g.vcpu.level(r.vcpu), g.memory.level(r.memory), g.disk.level(r.disk)}
}

// inside is the corner of the cells where every node has the room.
func (g *grid) inside(r room) corner {
	return corner{g.vcpu.above(r.vcpu), g.memory.above(r.memory), g.disk.above(r.disk)}
}

// page is the nodes of one class in one bucket of scores. Pages with no nodes are given back.
type page struct {
	cells  board
	closed board
	head   [cells]int32 // a node of the cell: the one whose turn is next; valid where cells has the bit
}

// class is the nodes with the same facts.
type class struct {
	key   string
	facts *facts // nil: the nodes have facts of their own, see mixedClass
	nodes int
	open  int            // those on the board
	reach [cells]uint64  // for each cell, the buckets in which a request with that corner finds something
	count [cells]int32   // open nodes in each cell
	pages [buckets]int32 // by bucket; none where it is empty
}

// link joins the nodes of one cell of one page into a ring.
type link struct {
	next, prev int32
	bucket     int16 // -1: not on the board
	cell       int16
}

// put sets a node on the board, last in turn in its cell.
func (x *Index) put(slot int32) {
	h, l := &x.hosts[slot], &x.links[slot]
	c := x.classes[h.class]
	l.cell, l.bucket = int16(x.grid.cell(x.rooms[slot])), int16(x.scale.bucket(int64(x.rooms[slot].score)))
	p := x.page(c, int(l.bucket))
	word, bit := int(l.cell)/64, uint64(1)<<(l.cell%64)
	c.open++
	c.count[l.cell]++
	if p.cells[word]&bit != 0 {
		first := p.head[l.cell]
		last := x.links[first].prev
		l.next, l.prev = first, last
		x.links[last].next, x.links[first].prev = slot, slot
		return
	}
	l.next, l.prev = slot, slot
	p.head[l.cell] = slot
	p.cells[word] |= bit
	c.reclose(p, int(l.bucket))
}

// take removes a node from the board. One that is not there is left alone.
func (x *Index) take(slot int32) {
	l := &x.links[slot]
	if l.bucket < 0 {
		return
	}
	c := x.classes[x.hosts[slot].class]
	p := &x.pages[c.pages[l.bucket]]
	c.open--
	c.count[l.cell]--
	if l.next != slot {
		x.links[l.prev].next, x.links[l.next].prev = l.next, l.prev
		if p.head[l.cell] == slot {
			p.head[l.cell] = l.next
		}
	} else {
		p.cells[l.cell/64] &^= 1 << (l.cell % 64)
		c.reclose(p, int(l.bucket))
		if p.cells == (board{}) {
			x.spare = append(x.spare, c.pages[l.bucket])
			c.pages[l.bucket] = none
		}
	}
	l.bucket = -1
}

// page gives the page of a bucket, a fresh one if there was none.
func (x *Index) page(c *class, bucket int) *page {
	n := c.pages[bucket]
	if n == none {
		if last := len(x.spare) - 1; last >= 0 {
			n, x.spare = x.spare[last], x.spare[:last]
		} else {
			x.pages = append(x.pages, page{})
			n = int32(len(x.pages) - 1)
		}
		c.pages[bucket] = n
	}
	return &x.pages[n]
}

// reclose brings reach up to date after the cells of a page changed.
func (c *class) reclose(p *page, bucket int) {
	now := p.cells.closed()
	for w := range now {
		for diff := now[w] ^ p.closed[w]; diff != 0; diff &= diff - 1 {
			c.reach[w*64+bits.TrailingZeros64(diff)] ^= 1 << bucket
		}
	}
	p.closed = now
}
