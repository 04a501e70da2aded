package libvirt

import (
	"sync"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// crashes remembers which crashed domains were stopped since. libvirt itself calls a domain whose QEMU died
// "crashed" until its next start, whatever is done to it, so a caller who wants it to be plainly off would
// never see that. After a restart of the node the set is empty, and one more Stop fills it.
type crashes struct {
	mu      sync.Mutex
	stopped map[cluster.InstanceID]bool
}

func (c *crashes) set(id cluster.InstanceID, stopped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !stopped {
		delete(c.stopped, id)
		return
	}
	if c.stopped == nil {
		c.stopped = map[cluster.InstanceID]bool{}
	}
	c.stopped[id] = true
}

// settle turns the crashed state of a domain that was stopped since into plain off.
func (c *crashes) settle(dom *virt.Domain) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if dom.Power == virt.PowerCrashed && c.stopped[dom.ID] {
		dom.Power = virt.PowerOff
	}
}
