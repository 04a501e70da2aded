package cluster

// Operation is something that is done to an instance in several steps, by several nodes perhaps. Each step names who
// carries it out; whoever that is does it as often as it takes, also after a crash, and says how it ended with
// AdvanceOperation. Steps that only change power are seen in the reports of instances.
type Operation struct {
	ID      OperationID   `json:"id"`
	Number  int64         `json:"number"` // counts all; Nova's integer ID of a migration
	Kind    OperationKind `json:"kind"`
	Step    OperationStep `json:"step"`
	Began   Time          `json:"began"`
	Stepped Time          `json:"stepped"` // when Step began
	Failure string        `json:"failure,omitempty"`
	Move    *Move         `json:"move,omitempty"`    // of the kinds that move
	Capture *Capture      `json:"capture,omitempty"` // of the kinds that save a disk to an image
}

// OperationKind says what is done.
type OperationKind string

// The kinds of operations.
const (
	OpResize   OperationKind = "resize"
	OpMigrate  OperationKind = "migration" // cold
	OpLive     OperationKind = "live-migration"
	OpEvacuate OperationKind = "evacuation" // off a dead node
	OpSnapshot OperationKind = "snapshot"
	OpBackup   OperationKind = "backup"
	OpShelve   OperationKind = "shelve"
)

// OperationStep says how far an operation is.
type OperationStep string

// The steps, and who carries each out.
const (
	StepPlacing   OperationStep = "placing"   // leader: finds the destination
	StepStopping  OperationStep = "stopping"  // source: powers the guest off
	StepCopying   OperationStep = "copying"   // destination: fetches images and disks
	StepFinishing OperationStep = "finishing" // destination, where the instance is by now: builds, and starts what ran
	StepWaiting   OperationStep = "waiting"   // user: confirms or reverts
	StepReverting OperationStep = "reverting" // source, where the instance is again: builds, and starts what ran
	StepMigrating OperationStep = "migrating" // source: sends the running guest
	StepCapturing OperationStep = "capturing" // the instance's node: copies the disk and makes it an image
	StepAsking    OperationStep = "asking"    // the destination of a live migration whose source is dead: says whether the guest has arrived
)

// Move is where an instance goes.
type Move struct {
	From      NodeID       `json:"from"`
	To        NodeID       `json:"to,omitempty"`    // "": not found yet
	Epoch     uint64       `json:"epoch,omitempty"` // that it has there
	Flavor    Flavor       `json:"flavor"`          // that it has there
	Was       Flavor       `json:"was"`             // that it had before
	WasEpoch  uint64       `json:"was_epoch"`
	WasDisk   uint64       `json:"was_disk"` // the epoch that its disks on From were made for
	Wanted    Power        `json:"wanted"`   // its power before
	Host      string       `json:"host,omitempty"`
	Forced    bool         `json:"forced,omitempty"`
	Auto      bool         `json:"auto,omitempty"`       // an evacuation that nobody asked for: it waits for room
	Drain     bool         `json:"drain,omitempty"`      // its node is drained: nobody has to confirm it
	CopyDisks string       `json:"copy_disks,omitempty"` // live: "yes", "no" or "auto"
	Signal    MoveSignal   `json:"signal,omitempty"`     // live: what the operator asked for meanwhile
	Progress  MoveProgress `json:"progress,omitzero"`
}

// MoveSignal is what an operator asks of a live migration under way.
type MoveSignal string

// The signals.
const (
	SignalAbort MoveSignal = "abort"
	SignalForce MoveSignal = "force_complete"
)

// MoveProgress is how far a move is, in bytes.
type MoveProgress struct {
	MemoryTotal     int64 `json:"memory_total,omitempty"`
	MemoryProcessed int64 `json:"memory_processed,omitempty"`
	MemoryRemaining int64 `json:"memory_remaining,omitempty"`
	DiskTotal       int64 `json:"disk_total,omitempty"`
	DiskProcessed   int64 `json:"disk_processed,omitempty"`
	DiskRemaining   int64 `json:"disk_remaining,omitempty"`
}

// Capture is the image that a disk is saved to.
type Capture struct {
	Image    ImageID `json:"image"`
	Backup   string  `json:"backup,omitempty"`   // backup_type, e.g. daily
	Rotation int     `json:"rotation,omitempty"` // backups of that type to keep
}

// Migration is the record of a move, as Nova's os-migrations shows it.
type Migration struct {
	ID        OperationID   `json:"id"`
	Number    int64         `json:"number"`
	Instance  InstanceID    `json:"instance"`
	Project   ProjectID     `json:"project"`
	User      UserID        `json:"user"`
	Kind      OperationKind `json:"kind"`
	Status    string        `json:"status"` // Nova's
	Step      OperationStep `json:"step"`
	From      NodeID        `json:"from"`
	To        NodeID        `json:"to,omitempty"`
	OldFlavor FlavorID      `json:"old_flavor"`
	NewFlavor FlavorID      `json:"new_flavor"`
	Created   Time          `json:"created"`
	Updated   Time          `json:"updated"`
	Progress  MoveProgress  `json:"progress,omitzero"`
}

// The statuses in which a migration is over, in Nova's words.
const (
	MigrationError     = "error"
	MigrationConfirmed = "confirmed"
	MigrationReverted  = "reverted"
	MigrationCompleted = "completed"
	MigrationCancelled = "cancelled"
)

// migrationStatus is Nova's word for a move that is at a step.
func migrationStatus(kind OperationKind, step OperationStep) string {
	if kind == OpLive {
		if step == StepPlacing {
			return "preparing"
		}
		return "running"
	}
	switch step {
	case StepPlacing, StepStopping, StepAsking:
		return "pre-migrating"
	case StepCopying:
		return "migrating"
	case StepFinishing:
		return "post-migrating"
	case StepReverting:
		return "reverting"
	}
	return "finished"
}

// Executor is the node that carries out the present step of the instance's operation; "": no node does, or there is none.
func (i *Instance) Executor() NodeID {
	if i.Op == nil {
		return ""
	}
	switch i.Op.Step {
	case StepCopying, StepAsking:
		return i.Op.Move.To
	case StepStopping, StepFinishing, StepReverting, StepMigrating, StepCapturing:
		return i.Node
	}
	return ""
}

// Desired is the power that the instance's domain should have right now on its own node. hold tells that an operation owns
// the domain, or that the instance may still run elsewhere: then nothing at all is to be done to it by anybody else.
func (i *Instance) Desired() (wanted Power, hold bool) {
	if i.Op == nil || i.Mode.Await != "" {
		return i.Wanted, i.Mode.Await != ""
	}
	switch i.Op.Step {
	case StepStopping, StepCopying:
		return WantOff, false
	case StepPlacing:
		// The operator's word is that the node is dead. If it comes back, it does not start what is about to be built elsewhere.
		return i.Wanted, i.Op.Kind == OpEvacuate
	case StepMigrating, StepAsking:
		return i.Wanted, true
	case StepCapturing:
		if i.Op.Kind == OpShelve {
			return WantOff, false
		}
	}
	return i.Wanted, false
}

// held is what a move takes on the node that the instance is not on: its destination before the switch, its source after.
func (i *Instance) held() (NodeID, Resources) {
	if i.Op == nil || i.Op.Move == nil || i.Wanted == WantDeleted {
		return "", Resources{}
	}
	m := i.Op.Move
	switch i.Op.Step {
	case StepFinishing, StepWaiting:
		if i.Op.Kind == OpEvacuate {
			return "", Resources{} // a tombstone holds the room on the dead node
		}
		return m.From, i.Spec.resourcesAs(&m.Was)
	case StepReverting:
		return "", Resources{} // a tombstone holds the room at the destination
	}
	if m.To == "" || i.stranded() {
		return "", Resources{}
	}
	return m.To, i.Spec.resourcesAs(&m.Flavor)
}

// stranded tells whether the instance's node was removed while its guest was on its way: it is on its destination, or lost.
func (i *Instance) stranded() bool {
	return i.Op != nil && i.Op.Step == StepAsking && i.Op.Move.From == ""
}

func (o *Operation) clone() *Operation {
	if o == nil {
		return nil
	}
	c := *o
	if o.Move != nil {
		m := *o.Move
		c.Move = &m
	}
	if o.Capture != nil {
		p := *o.Capture
		c.Capture = &p
	}
	return &c
}
