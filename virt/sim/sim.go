package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// What a host offers when Config leaves it open: room for many small guests.
const (
	defaultCPUs      = 16
	defaultMemoryMiB = 64 << 10
	defaultDiskGiB   = 1 << 10
	version          = 9_000_000 // of the libvirt that it imitates, 9.0.0
)

// How long a guest takes when Config leaves it open.
const (
	defaultBoot     = 2 * time.Second
	defaultShutdown = time.Second
)

// eventBuffer is how many hints are kept for a slow reader. More are dropped, as the contract allows.
const eventBuffer = 256

// Config says what the host is and how its guests behave. The zero Config is a usable host in memory.
type Config struct {
	// Host is what Host answers. Type, Version, CPU, MemoryMiB, DiskGiB, DiskFreeGiB and Confinement have
	// defaults. If Bridges is not nil, a guest with a card on any other bridge does not start.
	Host virt.Host

	// File keeps the records over a restart of the process; "": in memory only. It is made if missing.
	File string

	// Sockets is a directory of this host alone for the sockets that live migration needs; it is made if missing.
	// "": the host can neither send nor receive running guests. Paths of sockets have at most 107 bytes.
	Sockets string

	// Net is used instead of UNIX sockets. Sockets is then a name on it. nil: UNIX sockets.
	Net *Net

	// HostBoot is some text that changes whenever the host boots. Domains that were recorded under another
	// text are off, and their reason says so. "": the host never went down.
	HostBoot string

	Boot     time.Duration // from power-on to the login prompt; 0: 2 s
	Shutdown time.Duration // from the power button to power-off; 0: 1 s; < 0: guests ignore the button
	Seed     uint64        // of the dice for Fault.FailRate

	// Now is the clock that guests live by, which should not jump, also from one process to the next: a host's QEMUs do not notice when
	// somebody sets its wall clock. nil: time.Now
	Now func() time.Time
}

// Driver is the simulated hypervisor. It implements virt.Driver.
type Driver struct {
	cfg    Config
	net    network
	events chan virt.Event
	wake   chan struct{} // the time of the next change may have moved; never blocks, holds one
	done   chan struct{}
	loop   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	records map[cluster.InstanceID]record
	next    time.Time // nothing is due before; zero: nothing is due at all
	journal *journal  // nil: in memory only
	faults  map[Op]*Fault
	dice    *rand.Rand
	down    bool
	closed  bool

	consoles map[net.Conn]cluster.InstanceID // the guests' ends of the connections
	jobs     map[cluster.InstanceID]*job     // migrations from here
	mirrors  map[cluster.InstanceID]*mirror  // of disks of guests here
	held     map[io.Closer]struct{}          // what Close has to close
}

var _ virt.Driver = (*Driver)(nil)

// New opens a host. An unreadable or corrupt Config.File is an error, and nothing of it is changed.
func New(cfg Config) (*Driver, error) {
	cfg.fill()
	d := &Driver{
		cfg:     cfg,
		net:     unixSockets{},
		events:  make(chan virt.Event, eventBuffer),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		records: make(map[cluster.InstanceID]record),
		faults:  make(map[Op]*Fault),
		dice:    rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)),

		consoles: make(map[net.Conn]cluster.InstanceID),
		jobs:     make(map[cluster.InstanceID]*job),
		mirrors:  make(map[cluster.InstanceID]*mirror),
		held:     make(map[io.Closer]struct{}),
	}
	if cfg.Net != nil {
		d.net = cfg.Net
	}
	if cfg.File != "" {
		j, records, err := openJournal(cfg.File)
		if err != nil {
			return nil, fmt.Errorf("open simulated host: %w", err)
		}
		d.journal, d.records = j, records
		for _, r := range records {
			d.expect(r)
		}
		if err := d.bootHost(); err != nil {
			return nil, errors.Join(fmt.Errorf("open simulated host: %w", err), j.close())
		}
	}
	if err := d.listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("open simulated host: %w", err), d.journal.close())
	}
	d.mirrorsAgain()
	d.loop.Add(1)
	go d.run()
	return d, nil
}

func (c *Config) fill() {
	h := &c.Host
	h.Type = orElse(h.Type, "fake")
	if c.Now == nil {
		c.Now = time.Now
	}
	h.Version = orElse(h.Version, version)
	h.MemoryMiB = orElse(h.MemoryMiB, defaultMemoryMiB)
	h.DiskGiB = orElse(h.DiskGiB, defaultDiskGiB)
	h.DiskFreeGiB = orElse(h.DiskFreeGiB, h.DiskGiB)
	h.Confinement = orElse(h.Confinement, "none")
	if h.CPU.Count == 0 {
		h.CPU = virt.CPU{Arch: "x86_64", Model: "sim", Vendor: "Kilonova", Count: defaultCPUs,
			Sockets: 1, Cores: defaultCPUs, Threads: 1}
	}
	if len(h.EmulatorNames) == 0 {
		h.EmulatorNames = []string{h.CPU.Arch}
	}
	c.Boot = orElse(c.Boot, defaultBoot)
	c.Shutdown = orElse(c.Shutdown, defaultShutdown)
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Host gives the configured inventory.
func (d *Driver) Host(ctx context.Context) (virt.Host, error) {
	return act(ctx, d, OpHost, func() (virt.Host, error) { return d.cfg.Host, nil })
}

// Domains lists the defined domains, sorted by ID.
func (d *Driver) Domains(ctx context.Context) ([]virt.Domain, error) {
	return act(ctx, d, OpDomains, func() ([]virt.Domain, error) {
		all := make([]virt.Domain, 0, len(d.records))
		for id, r := range d.records {
			if r.Defined {
				all = append(all, r.domain(id))
			}
		}
		slices.SortFunc(all, func(a, b virt.Domain) int { return strings.Compare(string(a.ID), string(b.ID)) })
		return all, nil
	})
}

// Build records the domain and its disks.
func (d *Driver) Build(ctx context.Context, g virt.Guest) error {
	return d.do(ctx, OpBuild, func() error {
		id := g.Stamp.Instance
		if err := checkGuest(g); err != nil {
			return fmt.Errorf("build %s: %w", id, err)
		}
		r, exists := d.records[id]
		if exists && r.Defined && r.Stamp.Cluster != g.Stamp.Cluster {
			return fmt.Errorf("build %s: a domain with its UUID exists that is not ours", id)
		}
		if exists && r.up() {
			return nil
		}
		if err := r.define(g); err != nil {
			return fmt.Errorf("build %s: %w", id, err)
		}
		return d.put(id, r)
	})
}

// checkGuest refuses what no hypervisor could build.
func checkGuest(g virt.Guest) error {
	switch {
	case g.Stamp.Instance == "":
		return errors.New("the guest has no instance ID")
	case g.VCPUs <= 0 || g.MemoryMiB <= 0:
		return fmt.Errorf("%d vCPU and %d MiB are not a machine", g.VCPUs, g.MemoryMiB)
	}
	roots := []virt.RootDisk{g.Root}
	if g.Rescue != nil {
		roots = append(roots, *g.Rescue)
	}
	for _, r := range roots {
		if err := checkRoot(r); err != nil {
			return err
		}
	}
	return checkDisks(g.Disks)
}

// Console gives what the guest has printed by now.
func (d *Driver) Console(ctx context.Context, id cluster.InstanceID) (io.ReadCloser, error) {
	return act(ctx, d, OpConsole, func() (io.ReadCloser, error) {
		r, ok := d.records[id]
		if !ok {
			return nil, fmt.Errorf("read console of %s: %w", id, virt.ErrNotFound)
		}
		return io.NopCloser(strings.NewReader(r.console(d.cfg.Now(), d.cfg.Boot))), nil
	})
}

// Events delivers hints. Close closes the channel.
func (d *Driver) Events() <-chan virt.Event { return d.events }

// Close leaves every domain as it is, running ones included, for the next Driver on the same file.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.done)
	for c := range d.consoles {
		c.Close()
	}
	for c := range d.held {
		c.Close()
	}
	d.mu.Unlock()
	d.loop.Wait()

	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.events)
	return d.journal.close()
}
