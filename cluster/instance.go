package cluster

import (
	"maps"
	"slices"
)

// Instance is a VM that the cluster promised. Its Spec is what the user asked for; Node, Epoch and Wanted are
// what the cluster decided; Status is what its node reported last.
//
// tidy: one record for each instance, with what its parts do not say.
type Instance struct {
	ID          InstanceID    `json:"id"`
	Revision    uint64        `json:"revision"` // index of the last change of any part
	Number      int64         `json:"number"`   // counts all instances ever made; Nova's instance-%08x
	Project     ProjectID     `json:"project"`
	User        UserID        `json:"user"`
	Spec        Spec          `json:"spec"`
	Node        NodeID        `json:"node,omitempty"` // "": not placed
	Generation  uint64        `json:"generation"`     // raised when what the domain should be changes
	Epoch       uint64        `json:"epoch"`          // raised when Node changes, or its disks are to be made anew
	Epochs      Epochs        `json:"epochs,omitzero"`
	Wanted      Power         `json:"wanted"`
	Boot        uint64        `json:"boot"` // raised by a hard reboot: the domain must be started anew once
	Status      Status        `json:"status"`
	Placement   *Explanation  `json:"placement,omitempty"`
	LaunchIndex int           `json:"launch_index,omitempty"` // counts those of one CreateInstances, from 0
	Ports       []PortID      `json:"ports,omitempty"`        // in the order that the guest sees them
	Images      []BootImage   `json:"images,omitempty"`       // what it boots from, as it was when it was made
	Times       InstanceTimes `json:"times"`
	Deleted     bool          `json:"deleted,omitempty"` // gone; kept for a while for listings
	Op          *Operation    `json:"op,omitempty"`      // what is under way in several steps; nil: nothing
	Mode        Mode          `json:"mode,omitzero"`
	Replica     *Replica      `json:"replica,omitempty"` // the copy of its root disk on another node; nil: none
}

// Epochs are the epochs of an instance besides its present one.
type Epochs struct {
	Given uint64 `json:"given,omitempty"` // the highest ever given, also to a move that failed; 0: the present one is
	Disk  uint64 `json:"disk,omitempty"`  // the one that its disks were made for; 0: the present one
}

// Mode is what an instance is besides its usual self.
type Mode struct {
	Rescue  *Rescue `json:"rescue,omitempty"`  // it boots from another image, beside its own disk
	Shelved ImageID `json:"shelved,omitempty"` // the image that its disk was saved to
	Reclaim Time    `json:"reclaim,omitempty"` // deleted softly: when it goes for good
	Host    string  `json:"host,omitempty"`    // the node's name that it is to come back to, while it waits for one
	Await   NodeID  `json:"await,omitempty"`   // a node that may still run it: nothing is done until its tombstone there is settled
	Guard   uint64  `json:"guard,omitempty"`   // the epoch for which its node guards it: it may be started elsewhere when that dies
	Error   bool    `json:"error,omitempty"`   // put in error by an administrator: no report of its node mends it

	// InVolumes says that it is put away without an image: all that it is made of is in the volumes that it boots from.
	InVolumes bool `json:"in_volumes,omitempty"`
}

// away tells whether an instance is put away, and can be brought back.
func (m *Mode) away() bool { return m.Shelved != "" || m.InVolumes }

// Rescue is what an instance boots from to be mended.
type Rescue struct {
	Images    []BootImage `json:"images,omitempty"`
	Cmdline   string      `json:"cmdline,omitempty"` // of the kernel, if one of the images is one
	AdminPass string      `json:"admin_pass,omitempty"`
}

// Spec is what the user asked for.
type Spec struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Hostname    string            `json:"hostname"` // what the guest is told
	Image       ImageID           `json:"image"`
	Flavor      Flavor            `json:"flavor"` // as it was when the instance was made
	KeyName     string            `json:"key_name,omitempty"`
	PublicKey   string            `json:"public_key,omitempty"`
	UserData    []byte            `json:"user_data,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	AdminPass   string            `json:"admin_pass,omitempty"` // told to the guest; never shown again
	Scheduling  Scheduling        `json:"scheduling"`
	Access      [2]string         `json:"access"` // accessIPv4, accessIPv6
	DiskConfig  string            `json:"disk_config,omitempty"`
	Locked      string            `json:"locked,omitempty"` // "": no; else who locked it: "owner" or "admin"
	LockReason  string            `json:"lock_reason,omitempty"`
	Boot        BootSource        `json:"boot"`
	Reservation string            `json:"reservation,omitempty"` // names what was made together: r-xxxxxxxx
}

// BootSource is what the image said about how it boots, as it was when the instance was made.
type BootSource struct {
	Kernel     ImageID           `json:"kernel,omitempty"`
	Ramdisk    ImageID           `json:"ramdisk,omitempty"`
	Properties map[string]string `json:"properties,omitempty"` // image properties
	MinDiskGiB int64             `json:"min_disk_gib,omitempty"`
	ConfigDrv  bool              `json:"config_drive,omitempty"` // asked for; a drive is always given
	Volume     bool              `json:"volume,omitempty"`       // it boots from a volume and has no root disk of its own
}

// BootPart says what an image is to an instance.
type BootPart string

// The parts that an instance can boot from.
const (
	BootDisk    BootPart = "disk"
	BootKernel  BootPart = "kernel"
	BootRamdisk BootPart = "ramdisk"
)

// BootImage is one image that an instance boots from.
type BootImage struct {
	Part   BootPart `json:"part"`
	Image  ImageID  `json:"image"`
	Root   Hash     `json:"root"`
	Format string   `json:"format"` // Glance's disk_format
}

// Scheduling is what the user asked about where the instance goes.
type Scheduling struct {
	Zone   string            `json:"zone,omitempty"`
	Host   string            `json:"host,omitempty"` // a node's name, admins only; filters still apply unless Forced
	Forced bool              `json:"forced,omitempty"`
	Hints  map[string]string `json:"hints,omitempty"`
	Group  GroupID           `json:"group,omitempty"` // the server group that it is a member of
}

// Power is what the domain of an instance should do.
type Power string

// What may be wanted of an instance.
const (
	WantOn      Power = "on"
	WantOff     Power = "off"
	WantPaused  Power = "paused"    // in memory, its processors halted
	WantSaved   Power = "suspended" // its memory on disk
	WantDeleted Power = "deleted"
)

// VMState is Nova's vm_state.
type VMState string

// The vm_states in use.
const (
	VMBuilding    VMState = "building"
	VMActive      VMState = "active"
	VMStopped     VMState = "stopped"
	VMPaused      VMState = "paused"
	VMSuspended   VMState = "suspended"
	VMRescued     VMState = "rescued"
	VMResized     VMState = "resized"
	VMShelved     VMState = "shelved"
	VMOffloaded   VMState = "shelved_offloaded"
	VMSoftDeleted VMState = "soft-delete"
	VMError       VMState = "error"
	VMDeleted     VMState = "deleted"
)

// TaskState is Nova's task_state; "" means that nothing is under way.
type TaskState string

// The task_states in use.
const (
	TaskNone          TaskState = ""
	TaskScheduling    TaskState = "scheduling"
	TaskSpawning      TaskState = "spawning"
	TaskDeleting      TaskState = "deleting"
	TaskPoweringOff   TaskState = "powering-off"
	TaskPoweringOn    TaskState = "powering-on"
	TaskRebooting     TaskState = "reboot_started"
	TaskRebootHard    TaskState = "reboot_started_hard"
	TaskPausing       TaskState = "pausing"
	TaskUnpausing     TaskState = "unpausing"
	TaskSuspending    TaskState = "suspending"
	TaskResuming      TaskState = "resuming"
	TaskRebuilding    TaskState = "rebuilding"
	TaskRescuing      TaskState = "rescuing"
	TaskUnrescuing    TaskState = "unrescuing"
	TaskRestoring     TaskState = "restoring"
	TaskSnapshot      TaskState = "image_snapshot"
	TaskBackup        TaskState = "image_backup"
	TaskUploading     TaskState = "image_uploading"
	TaskResizePrep    TaskState = "resize_prep"
	TaskResizeMoving  TaskState = "resize_migrating"
	TaskResizeFinish  TaskState = "resize_finish"
	TaskResizeRevert  TaskState = "resize_reverting"
	TaskMigrating     TaskState = "migrating"
	TaskShelving      TaskState = "shelving"
	TaskShelvingSaved TaskState = "shelving_image_uploading"
	TaskUnshelving    TaskState = "unshelving"
)

// PowerState is Nova's power_state number.
type PowerState int

// The power states, with Nova's numbers.
const (
	PowerNoState   PowerState = 0
	PowerRunning   PowerState = 1
	PowerPaused    PowerState = 3
	PowerShutdown  PowerState = 4
	PowerCrashed   PowerState = 6
	PowerSuspended PowerState = 7
)

// Status is what is known about the instance's domain, in Nova's words.
type Status struct {
	VM       VMState    `json:"vm"`
	Task     TaskState  `json:"task,omitempty"`
	Power    PowerState `json:"power"`
	Progress int        `json:"progress,omitempty"` // per cent
	Note     string     `json:"note,omitempty"`     // what its node does right now, e.g. "fetching image 43 %"
	Fault    *Fault     `json:"fault,omitempty"`    // set while VM is VMError
	Boot     uint64     `json:"boot,omitempty"`     // the Boot that the running domain was started for
}

// Fault says what went wrong with an instance.
type Fault struct {
	Code    int    `json:"code"` // HTTP-like, as Nova shows it
	Message string `json:"message"`
	Details string `json:"details,omitempty"` // for administrators
	Created Time   `json:"created"`
}

// InstanceTimes are the moments of an instance's life.
type InstanceTimes struct {
	Created    Time `json:"created"`
	Updated    Time `json:"updated"`
	Launched   Time `json:"launched,omitempty"`
	Terminated Time `json:"terminated,omitempty"`
}

// Resources is what an instance of this spec takes from its node: what its flavor says, and, for a flavor whose
// root disk is as large as the image, the disk that the image asks for at least.
func (s *Spec) Resources() Resources { return s.resourcesAs(&s.Flavor) }

// resourcesAs is Resources with another flavor.
func (s *Spec) resourcesAs(f *Flavor) Resources {
	r := f.Resources()
	switch {
	case s.Boot.Volume:
		r.DiskGiB -= f.DiskGiB
	case f.DiskGiB == 0:
		r.DiskGiB += s.Boot.MinDiskGiB
	}
	return r
}

// Resources is what the instance takes from its node.
func (i *Instance) Resources() Resources { return i.Spec.Resources() }

// WaitsForNode tells whether the leader is to find the instance a node.
func (i *Instance) WaitsForNode() bool {
	return i.Node == "" && i.Wanted != WantDeleted && (i.Status.Task == TaskScheduling || i.Status.Task == TaskUnshelving)
}

// holdsRoom tells whether the instance itself takes room on its node. One that is being deleted does not: its
// tombstone does.
func (i *Instance) holdsRoom() bool { return i.Node != "" && i.Wanted != WantDeleted }

// DiskEpoch is the epoch that the instance's disks were or are made for. It names their place on its node.
func (i *Instance) DiskEpoch() uint64 {
	if i.Epochs.Disk != 0 {
		return i.Epochs.Disk
	}
	return i.Epoch
}

// Needs lists the images that have to stand on a node for the instance to be built there as it now is.
func (i *Instance) Needs() []BootImage {
	if i.Mode.Rescue == nil {
		return i.Images
	}
	return append(slices.Clone(i.Images), i.Mode.Rescue.Images...)
}

// newEpoch gives an epoch that the instance never had.
func (i *Instance) newEpoch() uint64 {
	i.Epochs.Given = max(i.Epochs.Given, i.Epoch) + 1
	return i.Epochs.Given
}

// Clone returns a copy whose own fields, maps and slices may be changed, those of its operation too. UserData, Placement,
// Fault, Rescue, Replica and flavors are shared: replace them, never write into them.
func (i *Instance) Clone() *Instance {
	c := *i
	c.Op = i.Op.clone()
	c.Spec.Metadata = maps.Clone(i.Spec.Metadata)
	c.Spec.Tags = slices.Clone(i.Spec.Tags)
	c.Ports = slices.Clone(i.Ports)
	return &c
}

// Tombstone permits a node to remove what it has of a deleted or moved instance, and holds the instance's
// room on the node until the node says that it is gone.
type Tombstone struct {
	Instance  InstanceID `json:"instance"`
	Node      NodeID     `json:"node"`
	Epoch     uint64     `json:"epoch"`          // domains and disks of this epoch and earlier ones may go
	Keep      uint64     `json:"keep,omitempty"` // disks made for this epoch stay all the same
	Resources Resources  `json:"resources"`
	Created   Time       `json:"created"`
}

// Explanation is why an instance went where it went, or why it found no node.
type Explanation struct {
	At         Time          `json:"at"`
	Considered int           `json:"considered"`        // nodes looked at
	Removed    []FilterCount `json:"removed,omitempty"` // in the order of the filters
	Reasons    []string      `json:"reasons,omitempty"` // node by node, e.g. "n1 short of 2 vCPU"; bounded
	Node       NodeID        `json:"node,omitempty"`    // the winner; "": none
	NodeName   string        `json:"node_name,omitempty"`
	Scores     []Score       `json:"scores,omitempty"` // of the winner, by weigher
}

// FilterCount is how many nodes a filter removed.
type FilterCount struct {
	Filter string `json:"filter"`
	Nodes  int    `json:"nodes"`
}

// Score is what one weigher gave the winner, already multiplied by its weight.
type Score struct {
	Weigher string  `json:"weigher"`
	Score   float64 `json:"score"`
}

// Action is something that was done to an instance, as Nova's os-instance-actions shows it.
type Action struct {
	Instance InstanceID `json:"instance"`
	Request  string     `json:"request"` // X-Openstack-Request-Id of the request that asked
	Kind     string     `json:"kind"`    // create, delete, stop, start, reboot, ...
	Project  ProjectID  `json:"project"`
	User     UserID     `json:"user"`
	Message  string     `json:"message,omitempty"` // set when it failed
	Started  Time       `json:"started"`
	Updated  Time       `json:"updated"`
	Events   []Event    `json:"events,omitempty"`
	Number   int64      `json:"number"`
}

// Event is one step of an action.
type Event struct {
	Name     string `json:"name"` // Nova's name, e.g. compute__do_build_and_run_instance
	Node     NodeID `json:"node,omitempty"`
	Started  Time   `json:"started"`
	Finished Time   `json:"finished,omitempty"`
	Result   string `json:"result,omitempty"` // Success | Error
	Details  string `json:"details,omitempty"`
	Number   int64  `json:"number"`
}
