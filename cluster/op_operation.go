package cluster

// By says who asked for something to be done to an instance, for its actions.
type By struct {
	Request string    `json:"request"` // X-Openstack-Request-Id
	User    UserID    `json:"user"`
	Project ProjectID `json:"project"`
}

// RebuildInstance gives an instance new disks from an image, and what its guest is told anew. Its ID, ports and volumes stay.
type RebuildInstance struct {
	ID     InstanceID `json:"id"`
	By     By         `json:"by"`
	Image  ImageID    `json:"image"`
	Boot   BootSource `json:"boot"` // of the image
	Change SpecChange `json:"change"`
}

// SpecChange changes what a rebuild may change. A nil field stays as it is.
type SpecChange struct {
	Name        *string            `json:"name,omitempty"`
	Description *string            `json:"description,omitempty"`
	Hostname    *string            `json:"hostname,omitempty"`
	Metadata    *map[string]string `json:"metadata,omitempty"`
	Access      *[2]string         `json:"access,omitempty"`
	DiskConfig  *string            `json:"disk_config,omitempty"`
	KeyName     *string            `json:"key_name,omitempty"`
	PublicKey   *string            `json:"public_key,omitempty"`
	UserData    *[]byte            `json:"user_data,omitempty"`
	AdminPass   *string            `json:"admin_pass,omitempty"`
}

// RescueInstance boots an instance from another image, with its own disk as the second one; with End it goes back.
type RescueInstance struct {
	ID        InstanceID `json:"id"`
	By        By         `json:"by"`
	Image     ImageID    `json:"image,omitempty"` // "": the one that it was made from
	Kernel    ImageID    `json:"kernel,omitempty"`
	Ramdisk   ImageID    `json:"ramdisk,omitempty"`
	Cmdline   string     `json:"cmdline,omitempty"` // of the kernel
	AdminPass string     `json:"admin_pass,omitempty"`
	End       bool       `json:"end,omitempty"`
}

// BeginMove begins a resize, a cold or a live migration, or an evacuation. The leader finds the destination afterwards. An
// evacuation is an operator's word that the instance's node is dead, whatever that node was doing: the instance is built anew
// elsewhere, from its image, and what the dead node has of it goes when that node comes back. A guest that was migrating live may have
// left it before: its destination is asked first, and has it or clears what it has. A move that had just left its source goes back there.
type BeginMove struct {
	ID        InstanceID    `json:"id"`
	By        By            `json:"by"`
	Operation OperationID   `json:"operation"`
	What      OperationKind `json:"what"`
	Flavor    *Flavor       `json:"flavor,omitempty"` // of a resize
	Host      string        `json:"host,omitempty"`   // a node's name
	Forced    bool          `json:"forced,omitempty"` // the filters do not apply
	Drain     bool          `json:"drain,omitempty"`  // the leader empties the node, and confirms the move itself
	CopyDisks string        `json:"copy_disks,omitempty"`
	AdminPass string        `json:"admin_pass,omitempty"` // of an evacuation
}

// PlaceMove gives a move its destination, or, with an empty Node, ends it for want of one. Stale when the operation is
// another or at another step by now, NoRoom when the destination does not take it.
type PlaceMove struct {
	ID          InstanceID  `json:"id"`
	Operation   OperationID `json:"operation"`
	Node        NodeID      `json:"node,omitempty"`
	Explanation Explanation `json:"explanation"`
	Answers     bool        `json:"answers,omitempty"` // of an evacuation: the node that was given up lives, and has to clear what it has first
}

// StopAwaiting ends the waiting for a node to clear what it has of instances: an operator has given it up, and it is silent. Conflict
// where there was no such word.
type StopAwaiting struct {
	Node NodeID `json:"node"`
}

// EndMove confirms or reverts a move that waits for it.
type EndMove struct {
	ID        InstanceID  `json:"id"`
	By        By          `json:"by"`
	Operation OperationID `json:"operation,omitempty"` // "": whichever waits
	Revert    bool        `json:"revert,omitempty"`
}

// SignalMove tells a live migration to give up or to complete.
type SignalMove struct {
	ID        InstanceID  `json:"id"`
	By        By          `json:"by"`
	Operation OperationID `json:"operation"`
	Signal    MoveSignal  `json:"signal"`
}

// BeginCapture begins to save an instance's disk to a new image, and for OpShelve to put the instance away.
type BeginCapture struct {
	ID        InstanceID    `json:"id"`
	By        By            `json:"by"`
	Operation OperationID   `json:"operation"`
	What      OperationKind `json:"what"`
	Image     Image         `json:"image"` // ID, owner, name, properties; queued
	Backup    string        `json:"backup,omitempty"`
	Rotation  int           `json:"rotation,omitempty"`
}

// AdvanceOperation says how a step went. It is ignored unless the operation is at that step and the node is the one that
// carries it out, or the destination of a live migration, which may say that the guest has arrived.
type AdvanceOperation struct {
	Node      NodeID        `json:"node"`
	ID        InstanceID    `json:"id"`
	Operation OperationID   `json:"operation"`
	Step      OperationStep `json:"step"`
	Done      bool          `json:"done,omitempty"`
	Error     string        `json:"error,omitempty"` // it cannot be done; for the user. Of StepAsking: the guest has not arrived
	Anew      bool          `json:"anew,omitempty"`  // of StepMigrating, with Error: what is left of the guest is not to go on, and is started anew
	Cancelled bool          `json:"cancelled,omitempty"`
	Note      string        `json:"note,omitempty"`
	Progress  *MoveProgress `json:"progress,omitempty"`
}

// UnshelveInstance brings a shelved instance back, to a node that the leader finds.
type UnshelveInstance struct {
	ID   InstanceID `json:"id"`
	By   By         `json:"by"`
	Zone *string    `json:"zone,omitempty"` // "": any
	Host string     `json:"host,omitempty"`
}

// RestoreInstance brings back an instance that was deleted softly.
type RestoreInstance struct {
	ID InstanceID `json:"id"`
	By By         `json:"by"`
}

// ResetInstance sets an instance's state by hand, and ends what was under way.
type ResetInstance struct {
	ID    InstanceID `json:"id"`
	By    By         `json:"by"`
	State VMState    `json:"state"` // active or error
}

// AttachPort gives an instance another card.
type AttachPort struct {
	ID   InstanceID `json:"id"`
	By   By         `json:"by"`
	Port NewPort    `json:"port"`
}

// DetachPort takes a card away.
type DetachPort struct {
	ID   InstanceID `json:"id"`
	By   By         `json:"by"`
	Port PortID     `json:"port"`
}

// Kind of each op.
func (*RebuildInstance) Kind() Kind  { return KindRebuildInstance }
func (*RescueInstance) Kind() Kind   { return KindRescueInstance }
func (*BeginMove) Kind() Kind        { return KindBeginMove }
func (*PlaceMove) Kind() Kind        { return KindPlaceMove }
func (*EndMove) Kind() Kind          { return KindEndMove }
func (*SignalMove) Kind() Kind       { return KindSignalMove }
func (*BeginCapture) Kind() Kind     { return KindBeginCapture }
func (*AdvanceOperation) Kind() Kind { return KindAdvanceOperation }
func (*UnshelveInstance) Kind() Kind { return KindUnshelveInstance }
func (*RestoreInstance) Kind() Kind  { return KindRestoreInstance }
func (*ResetInstance) Kind() Kind    { return KindResetInstance }
func (*AttachPort) Kind() Kind       { return KindAttachPort }
func (*DetachPort) Kind() Kind       { return KindDetachPort }
func (*StopAwaiting) Kind() Kind     { return KindStopAwaiting }
