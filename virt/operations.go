package virt

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// ErrUnsupported says that the hypervisor or the guest cannot do what was asked: it has no guest agent, say.
var ErrUnsupported = errors.New("not supported by the hypervisor or the guest")

// ErrNotRunning says that the domain would have to run for what was asked, and does not.
var ErrNotRunning = errors.New("the domain does not run")

// PowerControl switches domains. Every call is idempotent: a domain that is already as asked is not an error. A domain
// that was not built is ErrNotFound.
type PowerControl interface {
	// Start powers the domain on. One with saved memory goes on from it, and the saved memory is gone.
	Start(ctx context.Context, id cluster.InstanceID) error

	// Stop powers the domain off and keeps its definition. Destroy also throws away saved memory.
	Stop(ctx context.Context, id cluster.InstanceID, how StopMode) error

	// Pause halts the guest's processors and keeps its memory. ErrNotRunning when the domain is off.
	Pause(ctx context.Context, id cluster.InstanceID) error

	// Unpause lets a paused guest go on. ErrNotRunning when the domain is off.
	Unpause(ctx context.Context, id cluster.InstanceID) error

	// Save writes the guest's memory to disk, safely, and powers the domain off; Domain.Saved says so. It
	// survives a reboot of the host. ErrNotRunning when the domain is off and has no saved memory.
	Save(ctx context.Context, id cluster.InstanceID) error
}

// Devices changes the devices of a domain that is built: at once when it runs, and in its definition always.
type Devices interface {
	// AttachDisk adds a disk. One that is there under the same ID is not an error.
	AttachDisk(ctx context.Context, id cluster.InstanceID, d Disk) error

	// DetachDisk takes a disk away and returns when the guest has let go of it. One that is not there is not
	// an error. A guest that does not let go before ctx ends keeps it, and that is ErrUnsupported.
	DetachDisk(ctx context.Context, id cluster.InstanceID, disk DiskID) error

	// ResizeDisk tells a running guest that a disk has grown, and grows its file.
	ResizeDisk(ctx context.Context, id cluster.InstanceID, disk DiskID, bytes int64) error

	// AttachNIC adds a card. One that is there with the same MAC is made to have the bridge, the filters and
	// the MTU that n says, as far as that can be done without taking it away.
	AttachNIC(ctx context.Context, id cluster.InstanceID, n NIC) error

	// DetachNIC takes the card with that MAC away, as DetachDisk does a disk.
	DetachNIC(ctx context.Context, id cluster.InstanceID, mac string) error
}

// Disks reads and makes the files of an instance's own disks, those that Build makes: not volumes.
type Disks interface {
	// Capture writes a copy of a disk, as it was at one moment between the call and its return, to a new file
	// at path, in qcow2 and without a backing file. The guest may run; quiesce freezes its file systems for
	// that moment, if its agent is there, and a guest without one is captured all the same. A file at path is
	// overwritten. progress is told per cent. A capture of the same disk that an earlier daemon left behind
	// is ended first.
	Capture(ctx context.Context, id cluster.InstanceID, disk DiskID, path string, quiesce bool, progress func(percent int)) error

	// Export opens the disks of an instance that is off, made for the epoch, for copying to another node.
	Export(ctx context.Context, id cluster.InstanceID, epoch uint64) ([]ExportedDisk, error)

	// Import makes one disk of an instance, for the epoch, from what Export gave elsewhere. The base image of
	// an overlay stands ready at base. A file of an interrupted import is overwritten. The new disk has at
	// least the size asked for.
	Import(ctx context.Context, id cluster.InstanceID, epoch uint64, d ExportedDisk, base RootDisk, minBytes int64) error
}

// ExportedDisk is one disk on its way to another node: its data, sparse.
type ExportedDisk struct {
	ID      DiskID
	Format  string // "qcow2" or "raw"
	Overlay bool   // it lies on the instance's base image, and only what differs from it is in Extents
	Bytes   int64  // size of the file
	File    io.ReaderAt
	Extents []Extent // the parts of the file that hold data, ascending; the rest reads as zeros
	Close   func() error
}

// Extent is a range of a file, in bytes.
type Extent struct{ Offset, Length int64 }

// Mover moves running domains.
type Mover interface {
	// Receive prepares this host for a domain that is about to arrive running: it makes the disks that will be
	// filled during the migration and returns what the source has to know. The domain is not defined yet.
	Receive(ctx context.Context, g Guest) (Landing, error)

	// Migrate sends a running domain to where Receive was called. It returns nil when the guest runs there and
	// no longer here. On an error, observe: the guest is where it runs. progress is told while it goes on.
	Migrate(ctx context.Context, id cluster.InstanceID, l Landing, o MigrateOptions, progress func(cluster.MoveProgress)) error

	// AbortMigrate ends a migration that is under way; the guest goes on here. None under way is not an error.
	AbortMigrate(ctx context.Context, id cluster.InstanceID) error

	// ForceMigrate lets a migration that does not converge complete: by post-copy where it was asked for and is
	// possible, else by pausing the guest.
	ForceMigrate(ctx context.Context, id cluster.InstanceID) error

	// Sockets names this host's own end points that a migration uses, for the peer that proxies them.
	Sockets() Sockets
}

// Landing is what the destination of a migration tells its source.
type Landing struct {
	Stamp   Stamp             `json:"stamp"`             // that the domain has to carry there
	Disks   map[DiskID]string `json:"disks"`             // path there of each disk
	Bridges map[string]string `json:"bridges"`           // MAC -> bridge there
	Console string            `json:"console"`           // path there of the console log
	Config  string            `json:"config"`            // path there of the config drive; "": none
	NVRAM   string            `json:"nvram"`             // path there; "": none
	Kernel  string            `json:"kernel,omitempty"`  // path there of the kernel that the guest boots; "": none
	Ramdisk string            `json:"ramdisk,omitempty"` // path there of its ramdisk; "": none

	// The local end points that reach the destination. The source node fills them in. Memory and NBD lie below
	// Sockets.Dir: the destination's hypervisor listens under the same two paths on its own host.
	Libvirt, Memory, NBD string `json:"-"`
}

// MigrateOptions are the operator's choices.
type MigrateOptions struct {
	CopyDisks    []DiskID      // those that have no file in common with the destination
	AutoConverge bool          // slow the guest down when its memory changes faster than it is sent; a driver may leave it at a wish
	PostCopy     bool          // may switch over before all memory is sent
	MaxDowntime  time.Duration // 0: the hypervisor's default
	MiBPerSecond int64         // bandwidth; 0: no bound
}

// Sockets are paths of UNIX sockets.
type Sockets struct {
	Libvirt string // of the hypervisor's daemon
	// Dir is where the hypervisor's processes may make and find sockets. Where AppArmor confines them, the names have
	// to end in ".tunnelmigrate.dest.instance-" and the instance's ID.
	Dir string
}

// Inside looks into running domains and talks to their guests.
type Inside interface {
	// Dial connects to a console of a running domain. ErrNotRunning when it is off, ErrUnsupported when it has
	// no such console.
	Dial(ctx context.Context, id cluster.InstanceID, c ConsoleKind) (net.Conn, error)

	// Diagnostics tells what a running domain uses. ErrNotRunning when it is off.
	Diagnostics(ctx context.Context, id cluster.InstanceID) (cluster.Diagnostics, error)

	// SetPassword sets a user's password through the guest agent. ErrUnsupported without an agent.
	SetPassword(ctx context.Context, id cluster.InstanceID, user, password string) error

	// Crash sends the guest a non-maskable interrupt, on which it dumps its memory if it is set up to.
	Crash(ctx context.Context, id cluster.InstanceID) error
}

// ConsoleKind is a kind of console that one can connect to.
type ConsoleKind string

// The consoles that guests have.
const (
	ConsoleVNC    ConsoleKind = "vnc"    // RFB
	ConsoleSerial ConsoleKind = "serial" // the bytes of the first serial port
)
