package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/kilonova/kilonova/cluster"
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
	Bind    string // IP address of every port
	DataDir string
	Name    string // host name in the cluster; "": the machine's own
	Zone    string
	Voter   cluster.VoterPreference

	Hypervisor Hypervisor
	Capacity   Ratios
	Bridges    map[string]string // provider network label -> Linux bridge
	APITLS     bool
	TokenLife  time.Duration

	SnapshotEvery uint64 // entries of the log from one snapshot of the state to the next; 0: raftfsm's default
	Log           *slog.Logger
	Version       string
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
		APITLS:    true,
		TokenLife: time.Hour,
		Log:       slog.Default(),
		Version:   "devel",
	}
}

// Validate checks the settings and fills in what follows from them. The error names the flag to mend.
func (c *Config) Validate() error {
	a, err := netip.ParseAddr(c.Bind)
	switch {
	case c.Bind == "":
		return errors.New("--bind is missing: name the IP address of this machine that its peers reach it by")
	case err != nil:
		return fmt.Errorf("--bind %q is not an IP address", c.Bind)
	case a.IsUnspecified():
		return fmt.Errorf("--bind %s is no address that peers can reach: name one of this machine's own", c.Bind)
	case !c.APITLS && !a.IsLoopback():
		return fmt.Errorf("--api-tls=off is for loopback addresses only, and --bind is %s", c.Bind)
	}
	if c.Name == "" {
		if c.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("find this machine's host name (set --name): %w", err)
		}
	}
	if len(c.Name) > 253 {
		return errors.New("--name is longer than 253 characters")
	}
	switch c.Voter {
	case cluster.VoterAuto, cluster.VoterNever, cluster.VoterPrefer:
	default:
		return fmt.Errorf("--voter %q is not auto, never or prefer", c.Voter)
	}
	if c.Capacity.CPU <= 0 || c.Capacity.Memory <= 0 || c.Capacity.Disk <= 0 {
		return errors.New("--cpu-ratio, --memory-ratio and --disk-ratio must be above 0")
	}
	return c.Hypervisor.validate()
}

func (h *Hypervisor) validate() error {
	if h.Driver != "libvirt" && h.Driver != "sim" {
		return fmt.Errorf("--driver %q is not libvirt or sim", h.Driver)
	}
	switch h.VirtType {
	case "auto", "kvm", "qemu":
		return nil
	}
	return fmt.Errorf("--virt-type %q is not auto, kvm or qemu", h.VirtType)
}

// at joins the bind address and a port.
func (c *Config) at(port int) string { return hostPort(c.Bind, port) }

func hostPort(ip string, port int) string {
	if a, err := netip.ParseAddr(ip); err == nil {
		return netip.AddrPortFrom(a, uint16(port)).String()
	}
	return ip + ":" + strconv.Itoa(port)
}
