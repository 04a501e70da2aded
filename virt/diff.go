package virt

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

// Wanted is the committed side of one pass at one node.
type Wanted struct {
	Cluster string         // the cluster's ID
	Node    cluster.NodeID // the node that makes the pass

	// Instances holds every instance that is committed to this node, and those committed to another node
	// whose domain was seen here. One that is being deleted is left out: its tombstone speaks for it. What
	// is in neither list was never heard of, and its domain is quarantined.
	Instances []Desired

	// Tombstones are those not yet settled. The state drops one after the node reported the removal.
	Tombstones []Tombstone
}

// Desired is what the committed state wants of one instance.
type Desired struct {
	Stamp Stamp          // the decision; Cluster is that of Wanted
	Node  cluster.NodeID // the only node that may run it

	// Power is PowerRunning, PowerPaused, PowerSaved or PowerOff. With any other value the power is left as it is.
	Power Power

	// Hold says that an operation owns the domain for a while: nothing is done here.
	Hold bool

	// Stop says how a domain is brought to PowerOff. Whoever waits for a Shutdown decides when it has
	// waited long enough and changes this to Destroy.
	Stop StopMode

	// Ready says that the images it needs stand on this node. Nothing is built or started before.
	Ready bool

	// Resume says that a domain that is off or paused is to run: it was not yet seen running since power was
	// asked for, or it went down with its host. Without it, an off domain means that the guest powered
	// itself off, which is reported and not undone.
	Resume bool

	// Restart says that a domain that runs was started for an earlier boot than the one asked for: it is
	// stopped as Stop says, and then started. It implies Resume. It holds until the new boot was reported,
	// so whoever carries out the actions reports a start before it makes the next pass.
	Restart bool
}

// Tombstone permits the removal of an instance's disks from one node. It covers what was made there up to
// and including Epoch.
type Tombstone struct {
	Instance cluster.InstanceID
	Node     cluster.NodeID
	Epoch    uint64
	Keep     uint64 // the epoch whose disks stay all the same; 0: none
}

// ActionKind says what to do.
type ActionKind string

// The actions, each but the last three a call of the Driver with the same name.
const (
	ActionBuild       ActionKind = "build"
	ActionStart       ActionKind = "start"
	ActionStop        ActionKind = "stop"
	ActionPause       ActionKind = "pause"
	ActionUnpause     ActionKind = "unpause"
	ActionSave        ActionKind = "save"
	ActionRemove      ActionKind = "remove"
	ActionRemoveDisks ActionKind = "remove-disks"

	// ActionRefresh gives a domain that is not to be built anew the devices and the stamp of the committed
	// generation.
	ActionRefresh ActionKind = "refresh"

	// ActionQuarantine reports a domain that is not to be touched, because nothing committed explains it.
	ActionQuarantine ActionKind = "quarantine"

	// ActionReport says that the domain is not as wanted and that this node must not change it by itself.
	ActionReport ActionKind = "report"
)

// Action is one step towards the desired state. The actions of one instance are done in the order given, and
// the first that fails ends them for this pass; different instances are independent.
type Action struct {
	Kind ActionKind
	ID   cluster.InstanceID
	Why  string // for logs and reports

	// Stamp is the decision that is carried out: the committed one for build, start and stop, the domain's
	// own for remove, quarantine and report. For remove-disks it names the tombstone's epoch.
	Stamp Stamp

	Keep     uint64   // for remove-disks: the epoch whose disks stay; 0: none
	Stop     StopMode // for stop
	Observed Power    // the power state that led to it; PowerUnknown when there is no domain
}

// Diff compares what is wanted with what was observed and says what to do about it. It is pure: the same
// inputs, in any order, give the same actions, sorted by instance.
//
// It never starts what is not committed to this node in this very epoch, never stops or removes a domain
// that it cannot explain, and never removes a disk without a tombstone.
func Diff(w Wanted, observed []Domain) []Action {
	cases := make(map[cluster.InstanceID]*diffCase)
	at := func(id cluster.InstanceID) *diffCase {
		c := cases[id]
		if c == nil {
			c = &diffCase{cluster: w.Cluster, node: w.Node, id: id}
			cases[id] = c
		}
		return c
	}
	for i := range w.Instances {
		c := at(w.Instances[i].Stamp.Instance)
		c.twice = c.twice || c.want != nil
		c.want = &w.Instances[i]
	}
	for i := range observed {
		c := at(observed[i].ID)
		c.twice = c.twice || c.have != nil
		c.have = &observed[i]
	}
	for i := range w.Tombstones {
		t := &w.Tombstones[i]
		if t.Node != w.Node {
			continue
		}
		if c := at(t.Instance); c.tomb == nil || t.Epoch > c.tomb.Epoch {
			c.tomb = t
		}
	}

	ids := make([]cluster.InstanceID, 0, len(cases))
	for id := range cases {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b cluster.InstanceID) int { return cmp.Compare(a, b) })
	var actions []Action
	for _, id := range ids {
		actions = append(actions, cases[id].decide()...)
	}
	return actions
}

// diffCase is all that is known of one instance. want, have and tomb are nil where there is none.
type diffCase struct {
	cluster string
	node    cluster.NodeID
	id      cluster.InstanceID
	want    *Desired
	have    *Domain
	tomb    *Tombstone
	twice   bool // the same ID came twice, so neither can be trusted
}

func (c *diffCase) decide() []Action {
	if c.twice {
		return c.one(ActionReport, "it was named twice")
	}
	if c.have != nil {
		if why := c.unexplained(); why != "" {
			return c.one(ActionQuarantine, why)
		}
	}
	if c.tomb != nil {
		return c.bury()
	}
	switch {
	case c.want == nil: // unexplained has spoken for a domain, so there is none
		return nil
	case c.want.Stamp.Cluster != c.cluster:
		return c.one(ActionReport, "the desired state is of another cluster")
	case c.want.Node != c.node:
		return c.elsewhere()
	}
	return c.here()
}

// unexplained says why the domain is to be left alone, or "".
func (c *diffCase) unexplained() string {
	switch s := c.have.Stamp; {
	case s == Stamp{}:
		return "it carries no stamp"
	case s.Cluster != c.cluster:
		return "it belongs to another cluster"
	case s.Instance != c.id:
		return "its stamp is of another instance"
	case c.want == nil && c.tomb == nil:
		return "the committed state does not know its instance"
	}
	return ""
}

// bury settles a tombstone, and goes on with what is wanted: disks have a place for each epoch, so what the tombstone covers
// and what is built anew do not meet.
func (c *diffCase) bury() []Action {
	if c.want != nil && c.want.Node == c.node && c.want.Stamp.Epoch <= c.tomb.Epoch {
		return c.one(ActionReport, "it is wanted here and its tombstone is of the same epoch or a later one")
	}
	rest := *c
	rest.tomb = nil
	why := fmt.Sprintf("its tombstone covers epoch %d", c.tomb.Epoch)
	var actions []Action
	switch {
	case c.have == nil:
	case c.have.Stamp.Epoch <= c.tomb.Epoch:
		actions, rest.have = c.one(ActionRemove, why), nil
	case c.want == nil:
		return c.one(ActionReport, "its domain is newer than its tombstone")
	}
	disks := c.one(ActionRemoveDisks, why)
	disks[0].Stamp = Stamp{Cluster: c.cluster, Instance: c.id, Epoch: c.tomb.Epoch}
	disks[0].Keep = c.tomb.Keep
	actions = append(actions, disks...)
	if c.want == nil {
		return actions
	}
	return append(actions, rest.decide()...)
}

// elsewhere decides about an instance that is committed to another node.
func (c *diffCase) elsewhere() []Action {
	switch {
	case c.have == nil:
		return nil
	case c.have.Stamp.Epoch > c.want.Stamp.Epoch:
		return c.one(ActionReport, "its domain is newer than the committed state")
	}
	return c.one(ActionRemove, fmt.Sprintf("epoch %d is committed to node %s", c.want.Stamp.Epoch, c.want.Node))
}

// here decides about an instance that is committed to this node.
func (c *diffCase) here() []Action {
	switch {
	case c.want.Hold:
		return nil
	case c.have == nil:
		return c.build("it has no domain", c.want.Power == PowerRunning)
	case c.have.Stamp.Epoch < c.want.Stamp.Epoch:
		remove := c.one(ActionRemove, fmt.Sprintf("its domain is of epoch %d, committed is %d",
			c.have.Stamp.Epoch, c.want.Stamp.Epoch))
		return append(remove, c.build("its old domain was removed", c.want.Power == PowerRunning)...)
	case c.have.Stamp.Epoch > c.want.Stamp.Epoch, c.have.Stamp.Generation > c.want.Stamp.Generation:
		return c.one(ActionReport, "its domain is newer than the committed state")
	}
	switch c.want.Power {
	case PowerRunning:
		return c.on()
	case PowerOff:
		return c.off()
	case PowerPaused:
		return c.paused()
	case PowerSaved:
		return c.saved()
	}
	return nil
}

// outdated tells whether the domain is of an older generation than the committed one.
func (c *diffCase) outdated() bool { return c.have.Stamp.Generation < c.want.Stamp.Generation }

// refreshed appends what brings the domain's devices and stamp up to date.
func (c *diffCase) refreshed(actions ...Action) []Action {
	if !c.outdated() {
		return actions
	}
	return append(actions, c.committed(ActionRefresh, "its generation changed"))
}

// on brings the domain, which is of the committed epoch, to PowerRunning.
func (c *diffCase) on() []Action {
	up := c.have.Power == PowerRunning || c.have.Power == PowerPaused
	switch p := c.have.Power; {
	case p == PowerRunning && !c.want.Restart:
		return c.refreshed()
	case p == PowerPaused && !c.want.Restart && c.want.Resume:
		return c.refreshed(c.committed(ActionUnpause, "it is to go on"))
	case p == PowerPaused && !c.want.Restart:
		return c.one(ActionReport, "it is paused")
	case p == PowerUnknown:
		return c.one(ActionReport, "its power state cannot be told")
	case p == PowerCrashed && !c.want.Resume && !c.want.Restart:
		return c.lost("it crashed")
	case p == PowerOff && !c.want.Resume && !c.want.Restart:
		return c.lost("its guest powered it off")
	case !c.want.Ready:
		return c.one(ActionReport, "its images are not on this node yet")
	case c.have.Saved && !c.want.Restart:
		return c.refreshed(c.committed(ActionStart, "its memory is on disk"))
	case up && c.want.Stop == Shutdown:
		return []Action{c.stop(Shutdown, "it is to be started anew")} // and is started when it is off
	}
	var actions []Action
	if c.have.Power == PowerCrashed {
		actions = append(actions, c.stop(Destroy, "what is left of the crash makes way for a start"))
	} else if up || c.have.Saved {
		actions = append(actions, c.stop(Destroy, "it is to be started anew"))
	}
	if c.outdated() {
		return append(actions, c.build("its definition is out of date", true)...)
	}
	return append(actions, c.committed(ActionStart, "it is off"))
}

// off brings the domain, which is of the committed epoch, to PowerOff.
func (c *diffCase) off() []Action {
	switch p := c.have.Power; {
	case p == PowerCrashed:
		return []Action{c.stop(Destroy, "it crashed and is to be off")}
	case p == PowerRunning, p == PowerPaused:
		return []Action{c.stop(c.want.Stop, "it is to be off")}
	case p != PowerOff:
		return c.one(ActionReport, "its power state cannot be told")
	case c.have.Saved:
		return []Action{c.stop(Destroy, "its memory is not wanted any more")}
	case c.outdated():
		return c.build("its definition is out of date", false)
	}
	return nil
}

// paused brings a running domain to PowerPaused. One that is off has no memory to keep, which is reported.
func (c *diffCase) paused() []Action {
	switch c.have.Power {
	case PowerRunning:
		return c.refreshed(c.committed(ActionPause, "it is to be paused"))
	case PowerPaused:
		return c.refreshed()
	}
	return c.lost("it has no guest that could be paused")
}

// saved brings a running domain to PowerSaved.
func (c *diffCase) saved() []Action {
	switch p := c.have.Power; {
	case p == PowerRunning, p == PowerPaused:
		return c.refreshed(c.committed(ActionSave, "its memory is to be on disk"))
	case p == PowerOff && c.have.Saved:
		return c.refreshed()
	}
	return c.lost("it has no guest whose memory could be saved")
}

// lost reports a guest that went off by itself. What is reported of an older generation says nothing, so the definition comes up to
// date first.
func (c *diffCase) lost(why string) []Action {
	const old = "its definition is out of date"
	switch {
	case c.outdated() && c.have.Power == PowerCrashed:
		return append([]Action{c.stop(Destroy, why)}, c.build(old, false)...)
	case c.outdated() && c.have.Power == PowerOff:
		return c.build(old, false)
	}
	return c.one(ActionReport, why)
}

// build makes the definition that is committed, and starts it if start is set.
func (c *diffCase) build(why string, start bool) []Action {
	if !c.want.Ready {
		return c.one(ActionReport, "its images are not on this node yet")
	}
	actions := []Action{c.committed(ActionBuild, why)}
	if start {
		actions = append(actions, c.committed(ActionStart, "it was just built"))
	}
	return actions
}

func (c *diffCase) stop(how StopMode, why string) Action {
	a := c.committed(ActionStop, why)
	if a.Stop = how; a.Observed == PowerPaused {
		a.Stop = Destroy // a guest that does not run does not hear the power button
	}
	return a
}

func (c *diffCase) committed(kind ActionKind, why string) Action {
	a := c.one(kind, why)[0]
	a.Stamp = c.want.Stamp
	return a
}

func (c *diffCase) one(kind ActionKind, why string) []Action {
	a := Action{Kind: kind, ID: c.id, Why: why}
	if c.have != nil {
		a.Stamp, a.Observed = c.have.Stamp, c.have.Power
	}
	return []Action{a}
}
