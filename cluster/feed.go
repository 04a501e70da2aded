package cluster

import "iter"

// feedKept is how many of the latest changes a view can tell of, at least. Who fell further behind looks at everything.
const feedKept = 4096

// feed names the instances that changed lately, the latest last. It is worked out from what was applied and decides nothing, so it is
// neither compared nor kept in snapshots.
type feed struct {
	since   uint64   // it has every change of later indexes
	changes []change // views share the array: it is only ever appended to
}

type change struct {
	index uint64
	id    InstanceID
}

// note adds a change at an index, and forgets the oldest when they are many.
func (f *feed) note(index uint64, id InstanceID) {
	if len(f.changes) == 2*feedKept {
		f.since = f.changes[feedKept-1].index
		f.changes = append(make([]change, 0, 2*feedKept), f.changes[feedKept:]...)
	}
	f.changes = append(f.changes, change{index, id})
}

// forgetFeed makes the feed begin at the present index: what came before is not known in its order.
func (s *State) forgetFeed() { s.t.feed = feed{since: s.t.meta.Index} }

// InstancesChanged yields the instances whose record or tombstone was written after the view at index since, so that who has looked at
// that view need not look at all instances again. An instance may come more than once, and may be gone. ok is false when the view
// does not remember so far back.
func (v *View) InstancesChanged(since uint64) (ids iter.Seq[InstanceID], ok bool) {
	f := &v.t.feed
	if since < f.since {
		return nil, false
	}
	return func(yield func(InstanceID) bool) {
		for i := len(f.changes) - 1; i >= 0 && f.changes[i].index > since; i-- {
			if !yield(f.changes[i].id) {
				return
			}
		}
	}, true
}
