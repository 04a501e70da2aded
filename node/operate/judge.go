package operate

import (
	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
)

// sighting is what a node's hypervisor has of a guest.
type sighting struct {
	defined bool
	power   virt.Power
	name    string
}

// alive tells whether the guest is one that a user would find as it should be: it runs, or is paused and shall be.
func (s sighting) alive(wanted cluster.Power) bool {
	return s.power == virt.PowerRunning || s.power == virt.PowerPaused && wanted == cluster.WantPaused
}

// verdict is how a migration ended.
type verdict int

// The verdicts.
const (
	stayed  verdict = iota // the guest is at the source, or nowhere: the state goes back to before
	arrived                // it is at the destination, and nowhere else
	unclear                // the destination has to be asked
)

// judge says how a migration ended that is not under way any more, by what the two hosts have. there is nil as long as the
// destination was not asked.
//
// A guest that lives at the source has not moved, whatever the destination has: its tombstone removes that. One that does not
// live here has moved if it lives there. Paused is not alive unless it was paused before: a hypervisor pauses a guest when it hands
// it over, on both sides, and the side that lets it go on has it.
func judge(wanted cluster.Power, here sighting, there *peer.Arrival) verdict {
	switch {
	case here.alive(wanted):
		return stayed
	case there == nil:
		return unclear
	case there.Running, there.Defined && wanted == cluster.WantPaused:
		return arrived
	case there.Off && here.power != virt.PowerPaused:
		return arrived // and went off: what it wrote there is on the disk there alone
	}
	return stayed
}
