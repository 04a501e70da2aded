package virt

import "github.com/kilonova/kilonova/cluster"

// Stamp names the decision that a domain was built for. Drivers keep it in the domain's metadata and give it
// back in Domains, so that a restarted node knows its own.
type Stamp struct {
	Cluster    string // the cluster's ID; a domain of another cluster is foreign
	Instance   cluster.InstanceID
	Generation uint64 // raised by every change of what the domain should be
	Epoch      uint64 // raised by every change of the node that may run it
}

// Guest is all that a driver needs to build a domain. It is data: whoever made it has chosen everything, and
// has fetched the images that it names.
type Guest struct {
	Stamp       Stamp
	Name        string // display name; free text, may hold anything that a user can type
	VCPUs       int
	MemoryMiB   int64
	Root        RootDisk
	DiskEpoch   uint64            // the epoch for which its own disks were or are made; it names their place
	Rescue      *RootDisk         // set: it boots from a disk made from this, and its root is its second disk
	Disks       []Disk            // the others, in the order that the guest sees them
	Kernel      Kernel            // zero: the disk boots by itself
	NICs        []NIC             // in the order that the guest sees them
	ConfigDrive map[string][]byte // path on the drive -> content; nil: no drive
	Properties  map[string]string // image properties that shape hardware: hw_disk_bus, hw_vif_model, hw_machine_type, ...
	Owner       Owner
}

// RootDisk is a qcow2 overlay on a base image that stands ready on this node.
type RootDisk struct {
	None       bool   // the guest has no root of its own: it boots from a volume
	Base       string // absolute path of the base image; "": an empty disk
	BaseFormat string // "raw" or "qcow2": named, never guessed
	SizeGiB    int64  // virtual size of the overlay; 0: that of the base image
}

// DiskID names a disk of a guest.
type DiskID string

// The disks that Build makes. Volumes have the volume's ID.
const (
	DiskRoot      DiskID = "root"
	DiskSwap      DiskID = "swap"
	DiskEphemeral DiskID = "ephemeral" // the first; the others are "ephemeral1" and so on
	DiskRescue    DiskID = "rescue"
)

// Disk is a disk of a guest besides its root. Exactly one of Make and Path says where its data is.
type Disk struct {
	ID       DiskID
	Serial   string // that the guest sees; "": none
	Device   string // wish for the name in the guest, e.g. "vdb"; "": the next one that is free
	Bus      string // "virtio", "scsi", ...; "": as the image's properties say
	Make     MadeDisk
	Path     string // a volume: absolute path of its file on this node
	Format   string // of Path: "raw" or "qcow2"; named, never guessed
	Boot     bool   // the guest boots from it; its Root is then left out
	ReadOnly bool
	Shared   bool   // several guests may write to it
	Secret   []byte // passphrase of a LUKS volume; nil: it is not encrypted. Never in a log or an error
}

// MadeDisk is an empty disk that Build makes with the root disk and that goes with it.
type MadeDisk struct {
	SizeMiB int64  // 0: it is not one
	Use     string // "swap" or "ephemeral": it is formatted so
}

// Kernel boots a guest directly, as images with kernel_id and ramdisk_id ask for.
type Kernel struct {
	Path    string // absolute path of the kernel; "": none
	Ramdisk string // absolute path of the initial ramdisk; "": none
	Cmdline string // os_command_line
}

// NIC is a guest's network card on a Linux bridge of this node.
type NIC struct {
	Port      cluster.PortID
	MAC       string
	Bridge    string
	MTU       int      // bytes; 0: the bridge's own
	Addresses []string // the only source addresses that the guest may use; empty: any
	Spoofing  bool     // true: port security is off, nothing is filtered
}

// Owner names whose guest it is, for the domain's metadata.
type Owner struct {
	ProjectID, ProjectName string
	UserID, UserName       string
	FlavorName             string
}

// Power is what a domain does right now.
type Power int

// The power states of a domain, as far as the reconciler tells them apart.
const (
	PowerUnknown Power = iota
	PowerOff
	PowerRunning
	PowerPaused
	PowerCrashed
	PowerSaved // only wished for: off, with its memory on disk. Observed, that is PowerOff and Domain.Saved
)

// Domain is what a driver found.
type Domain struct {
	ID     cluster.InstanceID // the domain's UUID
	Name   string             // the hypervisor's own name for it
	Stamp  Stamp              // zero: it carries no stamp of ours
	Power  Power
	Reason string // why it is in that state, in the hypervisor's words
	Saved  bool   // it is off and its memory is on disk: Start goes on from there
	Disks  string // the IDs of its disks besides those that Build makes, sorted and joined with commas
	NICs   string // the MACs of its cards, sorted and joined with commas
}
