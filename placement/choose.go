package placement

import (
	"math/bits"
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

const (
	// exactNodes is how many nodes a decision simply compares all of.
	exactNodes = 64
	// fittingNodes is how many nodes that fit are compared within the best bucket.
	fittingNodes = 16
	// looksLimit is how many nodes are looked at that may turn out not to fit, before only sure ones are.
	looksLimit = 64
)

// Choice is a node that can take a request, as long as the index stays as it is.
type Choice struct {
	Node cluster.NodeID
	slot int32
}

// Choose finds the node for a request; false when no node passes the filters and has the room. It claims nothing.
func (x *Index) Choose(r *Request) (Choice, bool) {
	slot := none
	switch {
	case r.Resources.VCPUs > maxSize || r.Resources.MemoryMiB > maxSize || r.Resources.DiskGiB > maxSize:
	case r.Host != "":
		slot = x.chooseHost(r)
	default:
		s := search{x: x, r: r, need: roomFor(r.Resources), match: x.match(r), best: none}
		slot = s.run()
	}
	if slot == none {
		return Choice{slot: none}, false
	}
	return Choice{Node: x.hosts[slot].node.ID, slot: slot}, true
}

// chooseHost asks every filter about the one node that was named.
func (x *Index) chooseHost(r *Request) int32 {
	slot, ok := x.names[r.Host]
	if !ok {
		return none
	}
	s := x.subject(slot)
	for i := range filters {
		if f := &filters[i]; f.applies(r) && f.why(r, s) != "" {
			return none
		}
	}
	return slot
}

// search is one decision.
type search struct {
	x     *Index
	r     *Request
	need  room
	match *match

	best   int32 // slot of the best node so far
	score  int32 // its score without what depends on the request
	looks  int   // nodes looked at
	fitted int   // of those, nodes that can take the request

	shun   *grouping // nodes with its members are passed by
	ranked bool      // the best was found by more than its score
}

func (s *search) run() int32 {
	if s.r.wishes == nil {
		s.anywhere()
	} else {
		s.wishfully(s.r.wishes)
	}
	if s.ranked {
		return s.best
	}
	return s.preferHolders()
}

// anywhere looks for the best of all nodes.
func (s *search) anywhere() {
	if s.x.Len() <= exactNodes {
		s.all()
	} else {
		s.buckets()
	}
}

// wishfully looks where the wishes leave anything to look at.
func (s *search) wishfully(w *wishes) {
	only, few := w.only(&s.x.groups)
	switch {
	case few:
		s.among(only, nil)
	case w.group != nil && (w.group.of.Policy == cluster.SoftAffinity || w.group.of.Policy == cluster.SoftAntiAffinity):
		s.softly(w.group)
	default:
		s.anywhere()
	}
}

// all compares every node.
func (s *search) all() {
	for slot := range s.x.rooms {
		if s.x.links[slot].bucket >= 0 && s.match.passes(s.x.hosts[slot].class) {
			s.look(int32(slot))
		}
	}
}

// buckets goes through the buckets that may hold a node, from the best scores downwards. Where the size asked for is a
// border of levels, the first bucket holds one for sure. Otherwise nodes above the best sure bucket may fit or not: a few
// are looked at, then a sure one is taken, and only when there is none, every node that may fit is looked at.
func (s *search) buckets() {
	border, inside := s.x.grid.border(s.need), s.x.grid.inside(s.need)
	maybe := s.reach(border, mixedClass)
	sure := bits.Len64(s.reach(inside, mixedClass+1)) - 1 // the best bucket; -1: none
	for left := maybe; left != 0 && s.looks < looksLimit; {
		b := bits.Len64(left) - 1
		if b < sure {
			break
		}
		s.bucket(b, border, looksLimit)
		if s.best != none {
			return
		}
		left &^= 1 << b
	}
	if sure >= 0 {
		s.bucket(sure, inside, 2*looksLimit)
	}
	for left := maybe; left != 0 && s.best == none; {
		b := bits.Len64(left) - 1
		s.bucket(b, border, maxSize)
		left &^= 1 << b
	}
}

// reach gives the buckets in which some matching class, from a number upwards, has nodes from the corner on.
func (s *search) reach(from corner, first int32) uint64 {
	if !from.exists() {
		return 0
	}
	cell, union := from.cell(), uint64(0)
	for _, n := range s.match.classes {
		if n >= first {
			union |= s.x.classes[n].reach[cell]
		}
	}
	return union
}

// bucket looks at the nodes of one bucket from a corner on, until enough fitted or looks came to a limit.
func (s *search) bucket(b int, from corner, limit int) {
	cell, mask := from.cell(), atLeast(from.vcpu, from.memory)
	for _, n := range s.match.classes {
		c := s.x.classes[n]
		if c.reach[cell]>>b&1 == 0 {
			continue
		}
		p := &s.x.pages[c.pages[b]]
		for d := from.disk; d < levels; d++ {
			for w := p.cells[d] & mask; w != 0; w &= w - 1 {
				if s.ring(p.head[d*64+bits.TrailingZeros64(w)], limit) {
					return
				}
			}
		}
	}
}

// ring looks at the nodes of one cell, and tells whether that is enough.
func (s *search) ring(first int32, limit int) bool {
	for slot := first; ; {
		s.look(slot)
		if s.fitted >= fittingNodes || s.looks >= limit {
			return true
		}
		if slot = s.x.links[slot].next; slot == first {
			return false
		}
	}
}

// look compares one open node of a matching class with the best so far.
func (s *search) look(slot int32) {
	s.looks++
	if !s.admits(slot) {
		return
	}
	s.fitted++
	if score := s.x.rooms[slot].score; s.best == none || score > s.score {
		s.best, s.score = slot, score
	}
}

// admits tells whether an open node of a matching class can take the request.
func (s *search) admits(slot int32) bool {
	if !s.x.rooms[slot].holds(s.need) {
		return false
	}
	h := &s.x.hosts
	if len(s.r.Avoid) > 0 && slices.Contains(s.r.Avoid, (*h)[slot].node.ID) {
		return false
	}
	if w := s.r.wishes; w != nil {
		n := (*h)[slot].node
		if !w.grants(&s.x.groups, n) || s.shun != nil && s.shun.count(&s.x.groups, n.ID) > 0 {
			return false
		}
	}
	return len(s.x.classes) < maxClasses || (*h)[slot].class != mixedClass ||
		removedBy(s.r, subject{facts: (*h)[slot].facts}, onFacts) == 0
}

// preferHolders compares the best node with those that have the image, which score more for that.
func (s *search) preferHolders() int32 {
	if s.best == none || s.x.options.Weights.Image <= 0 {
		return s.best
	}
	bonus := int64(s.x.options.Weights.Image) * (scoreUnit / 1000)
	best, score := s.best, int64(s.score)
	if slices.Contains(s.r.Holders, s.x.hosts[best].node.ID) {
		score += bonus
	}
	for _, id := range s.r.Holders {
		slot, ok := s.x.ids[id]
		if !ok || s.x.links[slot].bucket < 0 || !s.match.passes(s.x.hosts[slot].class) || !s.admits(slot) {
			continue
		}
		if with := int64(s.x.rooms[slot].score) + bonus; with > score {
			best, score = slot, with
		}
	}
	return best
}

// Decision is what came of one request of ChooseMany.
type Decision struct {
	Node        cluster.NodeID // "": none fits
	Explanation cluster.Explanation
}

// failure names requests that fail alike.
type failure struct {
	key, host string
	forced    bool
	resources cluster.Resources
	wishes    *wishes
}

// ChooseMany decides a burst of requests in one pass, in order, claiming each choice before the next one is made, and
// explains each. The caller sets the times of the explanations, and releases the claims. A request that fails like an
// earlier one of the burst shares its explanation, so that a thousand of them do not walk over all nodes a thousand times.
func (x *Index) ChooseMany(rs []Request) []Decision {
	out := make([]Decision, len(rs))
	failed := make(map[failure]cluster.Explanation)
	for i := range rs {
		r := &rs[i]
		c, ok := x.gather(rs[i:])
		if !ok {
			c, ok = x.Choose(r)
		}
		if ok {
			out[i] = Decision{Node: c.Node, Explanation: x.Explained(r, c)}
			x.claimFor(c.slot, r)
			continue
		}
		f := failure{r.key, r.Host, r.Forced, r.Resources, r.wishes}
		e, known := failed[f]
		if !known || len(r.Avoid) > 0 {
			e = x.Explain(r)
			failed[f] = e
		}
		out[i].Explanation = e
	}
	return out
}
