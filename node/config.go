package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/lead"
)

// The ports of a node, all on its bind address.
const (
	APIPort    = 8774
	PeerPort   = 7443
	GossipPort = 7946
)

// Defaults of the settings.
const (
	DefaultDataDir       = "/var/lib/kilonova"
	DefaultConfigFile    = "/etc/kilonova/config.yaml"
	DefaultLibvirtSocket = "/var/run/libvirt/libvirt-sock"
	DefaultZone          = "nova" // Nova's default_availability_zone
)

// Config is what an operator sets for a node.
type Config struct {
	Bind      string // IP address of every port
	MovedFrom string // the operator's word that this machine had this address when it was enrolled, and has Bind now; "": it did not move
	DataDir   string
	Name      string // host name in the cluster; "": the machine's own
	Zone      string
	Voter     cluster.VoterPreference
	Witness   bool // votes and serves the API, and has no hypervisor

	Hypervisor Hypervisor
	Capacity   Ratios
	Live       Live
	Bridges    map[string]string // provider network label -> Linux bridge
	Open       []string          // the labels among them that members may make networks on; others are the administrators'
	SharedDir  string            // directory that other nodes have, too, for volumes of the shared types; "": none
	APITLS     bool
	TokenLife  time.Duration
	Lifecycle  lead.Lifecycle

	SnapshotEvery uint64 // entries of the log from one snapshot of the state to the next; 0: raftfsm's default
	Log           *slog.Logger
	Version       string

	commands uint32 // what this node says that it knows of the command set; 0: all of this build. Tests have it be of an older version
}

// Hypervisor says what runs the guests.
type Hypervisor struct {
	Driver        string // "libvirt" or "sim"
	VirtType      string // "auto", "kvm" or "qemu"
	LibvirtSocket string
	Sim           SimHost
}

// SimHost is the size of a simulated host.
type SimHost struct {
	VCPUs     int
	MemoryMiB int64
	DiskGiB   int64
	BootDelay time.Duration
}

// Ratios say how much of the machine is promised to instances.
type Ratios struct {
	CPU, Memory, Disk float64 // allocation ratios
	ReservedMemoryMiB int64
	ReservedDiskGiB   int64
}

// DefaultConfig is a node as it is when nothing is set. The ratios are Nova's initial_cpu_allocation_ratio,
// initial_ram_allocation_ratio and initial_disk_allocation_ratio.
func DefaultConfig() Config {
	return Config{
		DataDir: DefaultDataDir,
		Zone:    DefaultZone,
		Voter:   cluster.VoterAuto,
		Hypervisor: Hypervisor{
			Driver:        "libvirt",
			VirtType:      "auto",
			LibvirtSocket: DefaultLibvirtSocket,
			Sim:           SimHost{VCPUs: 64, MemoryMiB: 256 * 1024, DiskGiB: 4096, BootDelay: 500 * time.Millisecond},
		},
		Capacity:  Ratios{CPU: 4, Memory: 1, Disk: 1, ReservedMemoryMiB: 512},
		Live:      Live{AutoConverge: true},
		APITLS:    true,
		TokenLife: time.Hour,
		Log:       slog.Default(),
		Version:   "devel",
	}
}

// Validate checks the settings and fills in what follows from them. The error names the flag to mend.
func (c *Config) Validate() error {
	if c.Bind == "" {
		return errors.New("--bind is missing: name the IP address of this machine that its peers reach it by")
	}
	if err := checkReachable(c.Bind); err != nil {
		return err
	}
	a := netip.MustParseAddr(c.Bind).Unmap()
	c.Bind = a.String()
	if !c.APITLS && !a.IsLoopback() {
		return fmt.Errorf("--api-tls=off is for loopback addresses only, and --bind is %s", c.Bind)
	}
	if c.Name == "" {
		var err error
		if c.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("find this machine's host name (set --name): %w", err)
		}
	}
	if err := checkName(c.Name); err != nil {
		return err
	}
	switch c.Voter {
	case cluster.VoterAuto, cluster.VoterNever, cluster.VoterPrefer:
	default:
		return fmt.Errorf("--voter %q is not auto, never or prefer", c.Voter)
	}
	if c.Witness {
		if err := c.bearWitness(); err != nil {
			return err
		}
	}
	if c.Lifecycle.ResizeConfirm < 0 || c.Lifecycle.DeferredDelete < 0 {
		return errors.New("--resize-confirm and --deferred-delete must not be below 0")
	}
	if c.TokenLife <= 0 {
		return errors.New("--token-life must be above 0")
	}
	return errors.Join(c.Capacity.validate(), c.Live.validate(), c.Hypervisor.validate())
}

// checkReachable refuses what cannot be an address that peers reach one machine by.
func checkReachable(address string) error {
	a, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return fmt.Errorf("--bind %q is not an IP address", address)
	case a.IsUnspecified(), a.IsMulticast(), a.Zone() != "", a.IsLinkLocalUnicast() && a.Is6():
		return fmt.Errorf("--bind %s is no address that peers can reach: name one of this machine's own", address)
	}
	return nil
}

// names are what host names consist of (RFC 1123), and the underscore that some have.
var names = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// checkName refuses names that no host has, or that name every host: they stand in certificates, URLs and listings.
func checkName(name string) error {
	if !names.MatchString(name) || strings.EqualFold(name, "localhost") {
		return fmt.Errorf("name (--name) %.64q is not a host name of its own: letters, digits, dots, dashes and underscores, at most 253", name)
	}
	return nil
}

// The bounds of the ratios: the cluster keeps them in thousandths.
const minRatio, maxRatio = 0.001, 1000

func (r *Ratios) validate() error {
	for _, x := range []float64{r.CPU, r.Memory, r.Disk} {
		if !(x >= minRatio && x <= maxRatio) { // NaN is neither
			return fmt.Errorf("--cpu-ratio, --memory-ratio and --disk-ratio must be %g to %g", minRatio, float64(maxRatio))
		}
	}
	if r.ReservedMemoryMiB < 0 || r.ReservedDiskGiB < 0 {
		return errors.New("--reserved-memory-mib and --reserved-disk-gib must not be below 0")
	}
	return nil
}

func (h *Hypervisor) validate() error {
	if h.Driver != "libvirt" && h.Driver != "sim" {
		return fmt.Errorf("--driver %q is not libvirt or sim", h.Driver)
	}
	if s := h.Sim; h.Driver == "sim" && (s.VCPUs < 1 || s.MemoryMiB < 1 || s.DiskGiB < 1 || s.BootDelay < 0) {
		return errors.New("--sim-vcpus, --sim-memory-mib and --sim-disk-gib must be above 0, and --sim-boot-delay not below")
	}
	switch h.VirtType {
	case "auto", "kvm", "qemu":
		return nil
	}
	return fmt.Errorf("--virt-type %q is not auto, kvm or qemu", h.VirtType)
}

func (c *Config) commandVersion() uint32 {
	if c.commands != 0 {
		return c.commands
	}
	return cluster.CommandVersion
}

// at joins the bind address and a port.
func (c *Config) at(port int) string { return hostPort(c.Bind, port) }

func hostPort(ip string, port int) string {
	if a, err := netip.ParseAddr(ip); err == nil {
		return netip.AddrPortFrom(a, uint16(port)).String()
	}
	return ip + ":" + strconv.Itoa(port)
}
