package virt

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/kilonova/kilonova/cluster"
)

// ErrNotFound says that the driver has no such domain or disk. Removing is the exception: removing what is
// not there succeeds, so that a reconciler may repeat it.
var ErrNotFound = errors.New("no such domain")

// ErrUnavailable says that the hypervisor itself cannot be reached (libvirtd is down or does not answer
// within its deadline). The outcome of the call is unknown; observe before acting again.
var ErrUnavailable = errors.New("hypervisor is unavailable")

// AllEpochs is an epoch that no instance reaches: RemoveDisks through it leaves nothing.
const AllEpochs uint64 = math.MaxUint64

// Driver is a hypervisor. Every method takes a deadline from ctx and returns when it passes, even when the
// hypervisor hangs; the outcome is then unknown and the error wraps ErrUnavailable.
type Driver interface {
	// Host says what the hypervisor offers. It is called at start-up and after each reconnect.
	Host(ctx context.Context) (Host, error)

	// Domains lists every domain that the hypervisor has, running or not, ours or not.
	Domains(ctx context.Context) ([]Domain, error)

	// Build makes the guest's disks and config drive, where they do not exist, and defines the domain
	// without starting it. Building what is built already refreshes the definition of a domain that is
	// off, and changes nothing of one that runs. An existing disk is never overwritten.
	Build(ctx context.Context, g Guest) error

	// Stamp puts another stamp on a domain, running or not, and changes nothing else of it.
	Stamp(ctx context.Context, s Stamp) error

	PowerControl
	Devices
	Disks
	Mover
	Inside

	// Remove powers the domain off and deletes its definition. The disks stay.
	Remove(ctx context.Context, id cluster.InstanceID) error

	// RemoveDisks deletes the disks of an instance that were made for one of the epochs up to and including
	// through, except those of the epoch keep (0: none). The caller holds a committed tombstone for it. A
	// domain that is still defined and uses one of them is an error. With the last disks go the config drive
	// and the console log.
	RemoveDisks(ctx context.Context, id cluster.InstanceID, through, keep uint64) error

	// Console opens the guest's serial output from its beginning, or from as far back as is kept. The
	// reader ends at the present end of the log.
	Console(ctx context.Context, id cluster.InstanceID) (io.ReadCloser, error)

	// Events delivers hints that a domain changed. It is closed by Close. An event may be lost or come
	// twice: it only makes the reconciler look sooner than its timer would.
	Events() <-chan Event

	// Close releases the connection and leaves every domain running.
	Close() error
}

// StopMode says how a domain is powered off.
type StopMode int

const (
	// Destroy cuts the power at once.
	Destroy StopMode = iota
	// Shutdown presses the ACPI power button and returns; the domain goes off when its guest does.
	Shutdown
)

// Event is a hint that something happened to a domain, or, with an empty ID, to the hypervisor as a whole
// (it was lost, or came back).
type Event struct {
	ID cluster.InstanceID
}

// Host is what a hypervisor offers and is.
type Host struct {
	Type          string // as Nova names it: "QEMU" or "fake"
	Version       int    // major*1,000,000 + minor*1,000 + release, as libvirt counts
	CPU           CPU
	MemoryMiB     int64 // physical memory of the host
	DiskGiB       int64 // size of the file system that holds the disks
	DiskFreeGiB   int64
	KVM           bool            // proved by running a guest, never by the device node alone
	Traits        []string        // standard trait names, e.g. HW_CPU_X86_AVX2
	Bridges       map[string]bool // Linux bridges that exist on the host
	Confinement   string          // "apparmor", "selinux" or "none"; reported, never assumed
	AsRoot        bool            // guests' QEMUs are root
	Unfiltered    bool            // guests' QEMUs may make any system call: they have no seccomp sandbox
	EmulatorNames []string        // machine emulators found, e.g. "x86_64"
}

// CPU describes the host's processors.
type CPU struct {
	Arch    string // e.g. x86_64
	Model   string // libvirt's name for the host model; "" when unknown
	Vendor  string
	Count   int // logical processors
	Sockets int
	Cores   int // per socket
	Threads int // per core
}
