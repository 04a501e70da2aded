package sim

import (
	"slices"
	"strings"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// promises is what clients were told, and what they asked for.
type promises struct {
	mu      sync.Mutex
	creates map[string]*promised        // by the name that the client gave, which is unique
	deletes map[cluster.InstanceID]bool // asked for; true: acknowledged
	acks    int
}

// promised is one instance that a client asked for.
type promised struct {
	ids     []cluster.InstanceID // seen in the state under this name
	acked   cluster.InstanceID   // "": not yet
	refused bool
}

func newPromises() *promises {
	return &promises{creates: map[string]*promised{}, deletes: map[cluster.InstanceID]bool{}}
}

// exists looks at an instance that was just committed.
func (p *promises) exists(w *World, in *cluster.Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.creates[in.Spec.Name]; c != nil {
		if !slices.Contains(c.ids, in.ID) {
			c.ids = append(c.ids, in.ID)
		}
		if len(c.ids) > 1 || c.refused {
			w.broken(CheckCreates, "%s was asked for once (refused: %t) and is there as %v", in.Spec.Name, c.refused, c.ids)
		}
	}
	if p.deletes[in.ID] && in.Wanted != cluster.WantDeleted {
		w.broken(CheckDeletes, "instance %s is back", in.ID)
	}
}

// ask notes that a create is under way.
func (p *promises) ask(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		p.creates[n] = &promised{}
	}
}

// created notes that a create was acknowledged, and looks whether that is so.
func (p *promises) created(w *World, names, ids []string) {
	v := w.ledger.latest()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acks++
	if len(ids) != len(names) {
		w.broken(CheckCreates, "%v were asked for and %v acknowledged", names, ids)
		return
	}
	for i, n := range names {
		p.creates[n].acked = cluster.InstanceID(ids[i])
		p.stands(w, v, n)
	}
}

// refuse notes that a create was refused.
func (p *promises) refuse(w *World, names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		c := p.creates[n]
		c.refused = true
		if len(c.ids) > 0 {
			w.broken(CheckCreates, "%s was refused and is there as %v", n, c.ids)
		}
	}
}

// askDelete notes that an instance may go from now on.
func (p *promises) askDelete(id cluster.InstanceID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, asked := p.deletes[id]; !asked {
		p.deletes[id] = false
	}
}

// deleted notes that a delete was acknowledged, and looks whether that is so.
func (p *promises) deleted(w *World, id cluster.InstanceID) {
	v := w.ledger.latest()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acks++
	p.deletes[id] = true
	if in, ok := v.Instance(id); ok && in.Wanted != cluster.WantDeleted {
		w.broken(CheckDeletes, "the delete of %s was acknowledged and it is wanted %s", id, in.Wanted)
	}
}

func (p *promises) other() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acks++
}

// stands looks whether an acknowledged instance is there.
func (p *promises) stands(w *World, v *cluster.View, name string) {
	c := p.creates[name]
	if _, asked := p.deletes[c.acked]; c.acked == "" || asked {
		return
	}
	in, ok := v.Instance(c.acked)
	switch {
	case !ok:
		w.broken(CheckCreates, "%s was acknowledged as %s and is not there", name, c.acked)
	case in.Spec.Name != name:
		w.broken(CheckCreates, "%s was acknowledged as %s, which is %s", name, c.acked, in.Spec.Name)
	}
}

// audit looks at everything that was promised.
func (p *promises) audit(w *World) {
	v := w.ledger.latest()
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.creates {
		p.stands(w, v, name)
	}
	for id, acked := range p.deletes {
		if in, ok := v.Instance(id); ok && acked && in.Wanted != cluster.WantDeleted {
			w.broken(CheckDeletes, "instance %s is back", id)
		}
	}
}

// living lists the acknowledged instances whose delete nobody asked for, of clients with a prefix, sorted by name.
func (p *promises) living(prefix string) []cluster.InstanceID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for n, c := range p.creates {
		if _, asked := p.deletes[c.acked]; c.acked != "" && !asked && strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	ids := make([]cluster.InstanceID, len(names))
	for i, n := range names {
		ids[i] = p.creates[n].acked
	}
	return ids
}
