package cluster

import "iter"

// feedKept is how many of the latest changes a view can tell of, at least. Who fell further behind looks at everything.
const feedKept = 4096

// feed names the things of one kind that changed lately, the latest last. It is worked out from what was applied and decides nothing, so
// it is neither compared nor kept in snapshots.
type feed[K ~string] struct {
	since   uint64      // it has every change of later indexes
	changes []change[K] // views share the array: it is only ever appended to
}

type change[K ~string] struct {
	index uint64
	id    K
}

// note adds a change at an index, and forgets the oldest when they are many. What changes again within an entry, as a node does to which
// many instances come, is noted once.
func (f *feed[K]) note(index uint64, id K) {
	if n := len(f.changes); n > 0 && f.changes[n-1] == (change[K]{index, id}) {
		return
	}
	if len(f.changes) == 2*feedKept {
		f.since = f.changes[feedKept-1].index
		f.changes = append(make([]change[K], 0, 2*feedKept), f.changes[feedKept:]...)
	}
	f.changes = append(f.changes, change[K]{index, id})
}

// after yields what changed after an index, the latest first; ok is false when it is not remembered.
func (f *feed[K]) after(index uint64) (ids iter.Seq[K], ok bool) {
	if index < f.since {
		return nil, false
	}
	return func(yield func(K) bool) {
		for i := len(f.changes) - 1; i >= 0 && f.changes[i].index > index; i-- {
			if !yield(f.changes[i].id) {
				return
			}
		}
	}, true
}

// forgetFeed makes the feeds begin at the present index: what came before is not known in its order.
func (s *State) forgetFeed() {
	s.t.feed = feed[InstanceID]{since: s.t.meta.Index}
	s.t.nodeFeed = feed[NodeID]{since: s.t.meta.Index}
}

// InstancesChanged yields the instances whose record or tombstone was written after the view at index since, so that who has looked at
// that view need not look at all instances again. An instance may come more than once, and may be gone. ok is false when the view
// does not remember so far back.
func (v *View) InstancesChanged(since uint64) (ids iter.Seq[InstanceID], ok bool) {
	return v.t.feed.after(since)
}

// NodesChanged does the same for nodes: those whose record, or what is allocated of them, was written.
func (v *View) NodesChanged(since uint64) (ids iter.Seq[NodeID], ok bool) {
	return v.t.nodeFeed.after(since)
}
