package lab

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

const (
	// hostBridge is the bridge inside each host that guests are plugged into.
	hostBridge = "br0"
	// dataName is the directory in the lab's on which each host mounts its own disk.
	dataName = "data"
	// defaultDiskMiB is the size of a host's disk; the file is sparse.
	defaultDiskMiB = 8192
	// maxHosts keeps host addresses within .11 and .250.
	maxHosts = 240
)

//go:embed init_host.sh
var hostInit string

// ErrPowerOff says that a host was asked for something that it can only do while it is on.
var ErrPowerOff = errors.New("host is powered off")

// HostOptions describe a host to add. The zero value is a usable host.
type HostOptions struct {
	Name    string // default: "node" and its number
	DiskMiB int    // default: 8192; takes only what is written
}

// Host is one of a lab's machines.
type Host struct {
	Name string

	lab    *Lab
	number int // from 1
	dir    string
	disk   *disk

	power  sync.Mutex // held while the power changes
	mu     sync.Mutex
	moved  byte           // the last byte of its address, when that is not the first one it had
	ns     *namespace     // nil while powered off
	frozen bool           // its disk
	procs  sync.WaitGroup // waiters of processes inside
}

// AddHost makes a host and powers it on. Nothing runs in it yet; see StartLibvirt and Start.
func (l *Lab) AddHost(opts HostOptions) (*Host, error) {
	l.mu.Lock()
	if l.closed || len(l.hosts) >= maxHosts {
		l.mu.Unlock()
		return nil, fmt.Errorf("add host: the lab is closed or has %d hosts", maxHosts)
	}
	h := &Host{Name: opts.Name, lab: l, number: len(l.hosts) + 1}
	if h.Name == "" {
		h.Name = fmt.Sprintf("node%d", h.number)
	}
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()

	h.dir = filepath.Join(l.Dir(), fmt.Sprintf("host%d", h.number))
	size := opts.DiskMiB
	if size == 0 {
		size = defaultDiskMiB
	}
	if err := h.furnish(size); err != nil {
		return nil, fmt.Errorf("add host %s: %w", h.Name, err)
	}
	if err := h.PowerOn(); err != nil {
		return nil, err
	}
	return h, nil
}

// furnish makes the host's disk and the directories that outlive its power.
func (h *Host) furnish(diskMiB int) error {
	if err := os.MkdirAll(h.LogDir(), 0o755); err != nil {
		return err
	}
	if err := writeLibvirtConfig(filepath.Join(h.dir, "root"), uuid.New()); err != nil {
		return err
	}
	d, err := newDisk(filepath.Join(h.dir, "disk.img"), diskMiB)
	if err != nil {
		return err
	}
	h.disk = d
	return nil
}

// Address is the host's address on the management network.
func (h *Host) Address() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return management.address(h.lab.Index(), h.lastByte()).IP.String()
}

// lastByte is that of the host's address. The caller holds mu.
func (h *Host) lastByte() byte {
	if h.moved != 0 {
		return h.moved
	}
	return hostByte(h.number)
}

// Readdress gives a host that is on another address on the management network, and takes its present one: last is the last byte. Connections over the
// old one are not ended, they hang. It keeps the address through a loss of power. Addresses of other hosts are the caller's to avoid.
func (h *Host) Readdress(last byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns == nil {
		return fmt.Errorf("give %s another address: %w", h.Name, ErrPowerOff)
	}
	index, old := h.lab.Index(), h.lastByte()
	err := h.ns.do(func() error {
		return readdress("eth0", management.address(index, old), management.address(index, last))
	})
	if err != nil {
		return fmt.Errorf("give %s another address: %w", h.Name, err)
	}
	h.moved = last
	return nil
}

// hostByte is the last byte of a host's address: hosts begin at .11.
func hostByte(number int) byte { return byte(10 + number) }

// Bridge is the name of the bridge inside the host that reaches the guest network.
func (h *Host) Bridge() string { return hostBridge }

// DataDir is where the host's own disk is mounted, as its processes see it.
func (h *Host) DataDir() string { return h.lab.DataDir() }

// LogDir is the directory, on the machine, with the output of processes that Start started.
func (h *Host) LogDir() string { return filepath.Join(h.dir, "log") }

// LibvirtLogDir is the directory, on the machine, with the logs of the host's libvirtd and its QEMUs.
func (h *Host) LibvirtLogDir() string { return filepath.Join(h.dir, "root", "var", "log", "libvirt") }

// Path returns a path by which the machine reaches a file of the host, or ErrPowerOff.
func (h *Host) Path(inside string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns == nil {
		return "", fmt.Errorf("find %s on %s: %w", inside, h.Name, ErrPowerOff)
	}
	return filepath.Join("/proc", fmt.Sprint(h.ns.pid()), "root", inside), nil
}

// PID is the process ID of the host's PID 1 as the machine sees it, or 0 while the host is off. "nsenter -a -t"
// enters the host by it.
func (h *Host) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns == nil {
		return 0
	}
	return h.ns.pid()
}

// IsOn reports whether the host has power.
func (h *Host) IsOn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ns != nil
}

// PowerOn starts the host with an empty process table, its cables and its disk. A host that is on stays as it
// is. What ran before the power went is not started again.
func (h *Host) PowerOn() error {
	h.power.Lock()
	defer h.power.Unlock()
	if h.IsOn() {
		return nil
	}
	ns, err := newNamespace(unix.CLONE_NEWPID|unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWUTS,
		h.lab.Dir(), hostInit, h.dir, h.Name, h.lab.DataDir())
	if err != nil {
		return fmt.Errorf("power on %s: %w", h.Name, err)
	}
	h.mu.Lock()
	address := h.lastByte()
	h.mu.Unlock()
	if err := h.lab.fabric.connect(h.number, address, ns); err != nil {
		_ = ns.kill()
		return fmt.Errorf("power on %s: %w", h.Name, err)
	}
	h.mu.Lock()
	h.ns = ns
	h.mu.Unlock()
	return nil
}

// PowerCut ends every process of the host at once and drops what they had not synced to its disk. It returns
// when nothing of the host runs any more. A host that is off stays off.
func (h *Host) PowerCut() error {
	h.power.Lock()
	defer h.power.Unlock()
	h.mu.Lock()
	ns := h.ns
	h.mu.Unlock()
	if ns == nil {
		return nil
	}
	// The handle keeps the file system from being unmounted, and so written out, with its last process.
	mounted, err := os.Open(filepath.Join("/proc", fmt.Sprint(ns.pid()), "root", h.DataDir()))
	if err != nil {
		return fmt.Errorf("cut power of %s: %w", h.Name, err)
	}
	// No process is started inside once the host counts as off, so the wait below ends.
	h.mu.Lock()
	frozen := h.frozen
	h.ns, h.frozen = nil, false
	h.mu.Unlock()
	if frozen {
		err = release(mounted)
	}
	err = errors.Join(err, ns.kill(), shutdown(mounted), mounted.Close())
	h.procs.Wait()
	err = errors.Join(err, h.lab.fabric.disconnect(h.number), h.disk.waitReleased())
	if err != nil {
		return fmt.Errorf("cut power of %s: %w", h.Name, err)
	}
	return nil
}

// Unplug pulls the host's cable to the management network; it loses its carrier.
func (h *Host) Unplug() error { return h.lab.fabric.plug(management, h.number, false) }

// Plug puts the cable back.
func (h *Host) Plug() error { return h.lab.fabric.plug(management, h.number, true) }

// UnplugGuests pulls the cable of the host's bridge to the guest network.
func (h *Host) UnplugGuests() error { return h.lab.fabric.plug(guests, h.number, false) }

// PlugGuests puts that cable back.
func (h *Host) PlugGuests() error { return h.lab.fabric.plug(guests, h.number, true) }
