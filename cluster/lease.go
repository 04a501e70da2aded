package cluster

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"
)

// Lease is how long a node may go on without the leader's word, and when the others may go on without it. The leader counts Dead from
// when it heard of the node last; the node counts Stop from when it asked.
type Lease struct {
	Stop time.Duration `json:"stop"` // without a renewal for so long, a node ends its instances that are restarted elsewhere
	Kill time.Duration `json:"kill"` // how long that takes at most, also when its daemon hangs and its watchdog has to do it
	Dead time.Duration `json:"dead"` // silent for so long, its instances are started elsewhere
}

// How far apart two clocks are taken to run, in thousandths, and what is added for what nobody thought of, as a share of Stop.
const (
	leaseDrift  = 50
	leaseMargin = 10
)

// The bounds of a lease. A Stop shorter than the least is as long as an election takes.
const (
	leastStop = 2 * time.Second
	leastKill = 500 * time.Millisecond
	mostDead  = time.Hour
)

// DefaultLease holds where nobody chose another.
func DefaultLease() Lease {
	l := Lease{Stop: 12 * time.Second, Kill: 5 * time.Second}
	l.Dead = l.Least()
	return l
}

// Least is the shortest Dead that is safe: by then a node that counts on a slow clock has stopped what the leader, on a fast one, is about
// to start.
func (l Lease) Least() time.Duration {
	return (l.Stop+l.Kill)*(1000+leaseDrift)/1000 + l.Stop/leaseMargin
}

// Check says what is wrong with a lease.
func (l Lease) Check() *Error {
	switch {
	case l.Stop < leastStop:
		return Errorf(Invalid, "A node must be given %v at least before it stops its instances, not %v: an election takes that long", leastStop, l.Stop)
	case l.Kill < leastKill:
		return Errorf(Invalid, "Stopping its instances takes a node up to %v, not %v", leastKill, l.Kill)
	case l.Dead > mostDead:
		return Errorf(Invalid, "A node is taken for dead after %v at most, not %v", mostDead, l.Dead)
	case l.Dead < l.Least():
		return Errorf(Invalid, "A node must not be taken for dead before %v: it stops after %v, that takes up to %v, and clocks differ", l.Least(), l.Stop, l.Kill)
	}
	return nil
}

// Grant is a leader's answer to a node that asks for its lease.
type Grant struct {
	Index uint64        `json:"index"` // of a state that the node has to see before it holds a lease anew
	Stop  time.Duration `json:"stop"`  // the lease ends so long after the node asked
	Kill  time.Duration `json:"kill"`
}

// Settings are what the operators chose for the whole cluster.
type Settings struct {
	Revision uint64 `json:"revision"`
	Lease    Lease  `json:"lease"`
	Restarts int    `json:"restarts,omitempty"` // instances that are started elsewhere at the same time; 0: DefaultRestarts

	// ReserveNodes is how many nodes may be lost at the same time so that everything that asks for high availability still finds room
	// elsewhere: what would use that room is placed nowhere. 0: none is kept.
	ReserveNodes int `json:"reserve_nodes,omitempty"`

	// Former is the longest Dead of earlier settings whose leases may still be in force; 0: there are none.
	Former time.Duration `json:"former,omitempty"`
}

// DefaultRestarts is how many instances of dead nodes are started at the same time, and MaxRestarts the most that can be chosen.
const (
	DefaultRestarts = 16
	MaxRestarts     = 1000

	MaxReserveNodes = 100 // the most that Settings.ReserveNodes can be
)

// Loss is that a node was taken for dead.
type Loss struct {
	At        Time   `json:"at"`
	Confirmed bool   `json:"confirmed,omitempty"` // by an operator, who knows
	By        UserID `json:"by,omitempty"`        // the operator
}

// The flavor extra specs and server metadata that ask for high availability. What the server says goes before what its flavor says.
const (
	KeyHA         = "kilonova:ha"          // "true": started elsewhere when its node dies
	KeyHAPriority = "kilonova:ha_priority" // 0 to 100, those with the higher one first
)

const (
	usualPriority   = 50
	highestPriority = 100
)

// HA tells whether the instance asks to be started elsewhere when its node dies.
func (i *Instance) HA() bool { return i.asks(KeyHA) == "true" }

// Priority is the order in which instances are started elsewhere: the higher the sooner.
func (i *Instance) Priority() int {
	n, err := strconv.Atoi(i.asks(KeyHAPriority))
	if err != nil {
		return usualPriority
	}
	return max(0, min(highestPriority, n))
}

func (i *Instance) asks(key string) string {
	if value, ok := i.Spec.Metadata[key]; ok {
		return value
	}
	return i.Spec.Flavor.ExtraSpecs[key]
}

// tied says what an instance has on its node alone, so that it cannot be started elsewhere as it was; "" when nothing.
func (t *tables) tied(in *Instance) string {
	switch {
	case !in.Spec.Boot.Volume && in.CurrentReplica() == nil:
		return "its root disk is on its node alone" + t.uselessCopy(in)
	case in.Spec.Flavor.Ephemeral > 0:
		return "its ephemeral disk is on its node alone"
	case in.Wanted == WantSaved || in.Status.VM == VMSuspended:
		return "its memory was saved on its node alone"
	}
	for v := range resolved(&t.volumesOf, &t.volumes, string(in.ID)+sep) {
		if !v.Shared() {
			return fmt.Sprintf("its volume %s is on its node alone", v.ID)
		}
	}
	return ""
}

// Tied says why an instance cannot be started elsewhere as it was; "" when it can.
func (v *View) Tied(in *Instance) string { return v.t.tied(in) }

// WantsGuard tells whether the instance is to be started elsewhere when its node dies, and can be: then its node says that it guards it.
func (v *View) WantsGuard(in *Instance) bool { return in.HA() && v.t.tied(in) == "" }

// Guarded tells whether its node has said that it ends the instance when its lease does.
func (i *Instance) Guarded() bool { return i.Mode.Guard != 0 && i.Mode.Guard == i.Epoch }

// restartable tells whether an instance of a lost node can begin to be started elsewhere now.
func (t *tables) restartable(in *Instance) bool {
	return in.Guarded() && in.HA() && !in.givenUp() && in.Mode.Await == "" && in.Wanted != WantDeleted && in.Status.VM != VMError &&
		in.Mode.Reclaim == 0 && t.tied(in) == ""
}

// Restartable tells whether LoseNode, said again, would start an instance of a lost node elsewhere.
func (v *View) Restartable(node NodeID) bool {
	for in := range v.InstancesOn(node) {
		if v.t.restartable(in) {
			return true
		}
	}
	return false
}

// Settings are what the operators chose, or what holds where they did not.
func (v *View) Settings() Settings { return v.t.chosen() }

func (t *tables) chosen() Settings {
	if t.settings == nil {
		return Settings{Lease: DefaultLease(), Restarts: DefaultRestarts}
	}
	s := *t.settings
	if s.Restarts == 0 {
		s.Restarts = DefaultRestarts
	}
	return s
}

// Term names the leadership that was begun last; see BeginTerm.
func (v *View) Term() TermID { return v.t.meta.Term }

// restartID names the operation that starts an instance elsewhere: the same on every replica, another for each loss.
func restartID(in *Instance, index uint64) OperationID {
	h := sha256.Sum256(fmt.Appendf(nil, "restart %s %d %d", in.ID, in.Epoch, index))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // a UUID of version 8: of our own making
	return OperationID(fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16]))
}
