package cluster

// CreateInstances makes instances that look alike but for their IDs, names and ports: all of them, or, when it is
// refused, none. Quota is checked here. An instance whose Node is set takes its room there if it still fits, else
// it is made without a node and waits for PlaceInstance.
type CreateInstances struct {
	Request string        `json:"request"` // X-Openstack-Request-Id, for the instance action
	Project ProjectID     `json:"project"`
	User    UserID        `json:"user"`
	Spec    Spec          `json:"spec"` // of all; each item brings its own name
	Items   []NewInstance `json:"items"`
}

// NewInstance is one instance of CreateInstances.
type NewInstance struct {
	ID       InstanceID `json:"id"`
	Name     string     `json:"name"`
	Hostname string     `json:"hostname"`
	Ports    []NewPort  `json:"ports,omitempty"`

	Volumes []NewVolume `json:"volumes,omitempty"` // in the order that the guest sees them

	// Filled in by the leader before the command is logged.
	Node        NodeID       `json:"node,omitempty"`
	Explanation *Explanation `json:"explanation,omitempty"` // with an empty Node: no node fits; the instance goes to error
}

// NewPort is a network card of a new instance: an existing port, or a new one on a network.
type NewPort struct {
	Existing PortID `json:"existing,omitempty"`
	New      *Port  `json:"new,omitempty"` // ID, Network and MAC set; addresses as in PutPort
}

// PlaceInstance gives an unplaced instance its node, or, with an empty Node, puts it in error for want of one. Stale
// when the instance's generation or epoch is another, NoRoom when it does not fit.
type PlaceInstance struct {
	ID          InstanceID  `json:"id"`
	Generation  uint64      `json:"generation"`
	Epoch       uint64      `json:"epoch"`
	Node        NodeID      `json:"node,omitempty"`
	Explanation Explanation `json:"explanation"`
}

// UpdateInstance changes what a user may change at any time and no domain needs to hear of: name, description,
// metadata, tags, access addresses, lock. A nil field stays as it is. Stale when Revision is set and not the present one.
type UpdateInstance struct {
	ID          InstanceID         `json:"id"`
	Revision    uint64             `json:"revision,omitempty"`
	Name        *string            `json:"name,omitempty"`
	Description *string            `json:"description,omitempty"`
	Hostname    *string            `json:"hostname,omitempty"`
	Metadata    *map[string]string `json:"metadata,omitempty"`
	Tags        *[]string          `json:"tags,omitempty"`
	Access      *[2]string         `json:"access,omitempty"`
	DiskConfig  *string            `json:"disk_config,omitempty"`
	Locked      *string            `json:"locked,omitempty"`
	LockReason  *string            `json:"lock_reason,omitempty"`
	By          *By                `json:"by,omitempty"` // who locks or unlocks it, for its actions; of no other change
}

// SetPower asks for an instance to be on, off, or, with Reboot, started anew. Conflict in a state that Nova does
// not allow it in.
type SetPower struct {
	ID      InstanceID `json:"id"`
	Request string     `json:"request"`
	User    UserID     `json:"user"`
	Project ProjectID  `json:"project"`
	Wanted  Power      `json:"wanted"`
	Reboot  string     `json:"reboot,omitempty"` // "", SOFT or HARD
	Action  string     `json:"action,omitempty"` // "" as the others say, or pause, unpause, suspend, resume
}

// DeleteInstance asks for an instance to go. One without a node goes at once; else a tombstone lets its node
// remove it, and the instance is gone when the node says so. Deleting one that is being deleted is not an error.
type DeleteInstance struct {
	ID      InstanceID `json:"id"`
	Request string     `json:"request"`
	User    UserID     `json:"user"`
	Project ProjectID  `json:"project"`
	Reclaim Time       `json:"reclaim,omitempty"` // softly: it is off, and may be restored, until then
	Due     bool       `json:"due,omitempty"`     // only if it was deleted softly, and its time to be restored is over
}

// ReportInstances is what a node says about its instances, many at a time. A report of another epoch or generation
// than the instance's is ignored; see ReportChanges.
type ReportInstances struct {
	Node    NodeID           `json:"node"`
	Reports []InstanceReport `json:"reports"`
}

// InstanceReport is what a node says about one instance.
type InstanceReport struct {
	ID         InstanceID `json:"id"`
	Generation uint64     `json:"generation"` // the instance's, in the view that the node acted on
	Epoch      uint64     `json:"epoch"`
	Power      PowerState `json:"power"`
	Boot       uint64     `json:"boot,omitempty"`  // the Boot that the running domain was started for
	Step       string     `json:"step,omitempty"`  // what it does right now: "spawning", or a progress note
	Error      string     `json:"error,omitempty"` // why it cannot be as wanted; for the user
	Detail     string     `json:"detail,omitempty"`
	Gone       bool       `json:"gone,omitempty"` // domain and disks of Epoch are removed: clears the tombstone
}

// ForgetInstance finishes a deletion whose node does not answer: the instance is gone for its user, while its tombstone
// keeps the room until the node comes back or is removed.
type ForgetInstance struct {
	ID InstanceID `json:"id"`
}

// Kind of each op.
func (*CreateInstances) Kind() Kind { return KindCreateInstances }
func (*PlaceInstance) Kind() Kind   { return KindPlaceInstance }
func (*UpdateInstance) Kind() Kind  { return KindUpdateInstance }
func (*SetPower) Kind() Kind        { return KindSetPower }
func (*DeleteInstance) Kind() Kind  { return KindDeleteInstance }
func (*ReportInstances) Kind() Kind { return KindReportInstances }
func (*ForgetInstance) Kind() Kind  { return KindForgetInstance }
