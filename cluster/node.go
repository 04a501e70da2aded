package cluster

import (
	"maps"
	"slices"
)

// Node is a machine that was enrolled. Its record is what the cluster agreed about it; whether it is alive
// right now is not in the state but in gossip and leases.
type Node struct {
	ID       NodeID            `json:"id"`
	Revision uint64            `json:"revision"` // index of the last change
	Number   int64             `json:"number"`   // small integer for APIs that show one; never reused
	Name     string            `json:"name"`     // host name, shown as Nova's host; unique among nodes
	Address  string            `json:"address"`  // IP address that all ports are bound to
	Zone     string            `json:"zone"`     // availability zone
	Voter    VoterPreference   `json:"voter"`
	Capacity Capacity          `json:"capacity"`
	Host     HostFacts         `json:"host"`
	Bridges  map[string]string `json:"bridges,omitempty"` // provider network label -> Linux bridge
	Service  ServiceState      `json:"service"`
	Commands uint32            `json:"commands"`        // newest command version that its binary knows
	Version  string            `json:"version"`         // of its binary
	Token    TokenID           `json:"token,omitempty"` // join token that it enrolled with; "": the first node
	Key      Hash              `json:"key"`             // SHA-256 of its public key (SubjectPublicKeyInfo); zero: not recorded
	Enrolled Time              `json:"enrolled"`
	Updated  Time              `json:"updated"`
	Lost     *Loss             `json:"lost,omitempty"`    // taken for dead, and not back yet
	Witness  bool              `json:"witness,omitempty"` // votes, serves the API, and has no hypervisor; for good
	Open     []string          `json:"open,omitempty"`    // the provider networks among Bridges that members may make networks on
}

// VoterPreference lets an operator pin whether a node may vote.
type VoterPreference string

// The voter preferences.
const (
	VoterAuto   VoterPreference = "auto"
	VoterNever  VoterPreference = "never"
	VoterPrefer VoterPreference = "prefer"
)

// Capacity is what a node has and how much of it may be promised.
type Capacity struct {
	VCPUs     int64 `json:"vcpus"`
	MemoryMiB int64 `json:"memory_mib"`
	DiskGiB   int64 `json:"disk_gib"`

	// Allocation ratios in thousandths: 4000 promises four virtual CPUs for each real one.
	VCPURatio   int64 `json:"vcpu_ratio"`
	MemoryRatio int64 `json:"memory_ratio"`
	DiskRatio   int64 `json:"disk_ratio"`

	// Kept back for the host itself.
	ReservedVCPUs     int64 `json:"reserved_vcpus,omitempty"`
	ReservedMemoryMiB int64 `json:"reserved_memory_mib,omitempty"`
	ReservedDiskGiB   int64 `json:"reserved_disk_gib,omitempty"`
}

// Limit is the most that may be allocated: (inventory - reserve) x ratio, as OpenStack Placement counts it.
func (c Capacity) Limit() Resources {
	scale := func(total, reserved, ratio int64) int64 { return max(0, total-reserved) * ratio / 1000 }
	return Resources{
		VCPUs:     scale(c.VCPUs, c.ReservedVCPUs, c.VCPURatio),
		MemoryMiB: scale(c.MemoryMiB, c.ReservedMemoryMiB, c.MemoryRatio),
		DiskGiB:   scale(c.DiskGiB, c.ReservedDiskGiB, c.DiskRatio),
	}
}

// Resources is an amount of what instances consume.
type Resources struct {
	VCPUs     int64 `json:"vcpus"`
	MemoryMiB int64 `json:"memory_mib"`
	DiskGiB   int64 `json:"disk_gib"`
}

// Add returns r + o.
func (r Resources) Add(o Resources) Resources {
	return Resources{r.VCPUs + o.VCPUs, r.MemoryMiB + o.MemoryMiB, r.DiskGiB + o.DiskGiB}
}

// Sub returns r - o.
func (r Resources) Sub(o Resources) Resources {
	return Resources{r.VCPUs - o.VCPUs, r.MemoryMiB - o.MemoryMiB, r.DiskGiB - o.DiskGiB}
}

// most is the larger of both in each dimension.
func (r Resources) most(o Resources) Resources {
	return Resources{max(r.VCPUs, o.VCPUs), max(r.MemoryMiB, o.MemoryMiB), max(r.DiskGiB, o.DiskGiB)}
}

// Fits tells whether r is within limit in every dimension.
func (r Resources) Fits(limit Resources) bool {
	return r.VCPUs <= limit.VCPUs && r.MemoryMiB <= limit.MemoryMiB && r.DiskGiB <= limit.DiskGiB
}

// HostFacts is what a node found out about its hypervisor.
type HostFacts struct {
	Type       string   `json:"type"`    // "QEMU" or "fake", as Nova names it
	Version    int      `json:"version"` // major*1,000,000 + minor*1,000 + release
	Arch       string   `json:"arch"`
	CPUModel   string   `json:"cpu_model"`
	CPUVendor  string   `json:"cpu_vendor"`
	Sockets    int      `json:"sockets"`
	Cores      int      `json:"cores"`
	Threads    int      `json:"threads"`
	KVM        bool     `json:"kvm"`
	Traits     []string `json:"traits,omitempty"`
	Ready      bool     `json:"ready"` // the hypervisor answers; false: the node takes no instances
	Trouble    string   `json:"trouble,omitempty"`
	Quarantine []string `json:"quarantine,omitempty"` // unknown domains that were found and left alone

	Confinement string `json:"confinement,omitempty"` // what keeps guests from the host: "apparmor", "selinux" or "none"; "": not known
	Watchdog    bool   `json:"watchdog,omitempty"`    // hardware restarts the host when its kernel hangs
}

// Traits of nodes whose hypervisor gives its guests' processes more rights than they need.
const (
	TraitGuestsAsRoot = "CUSTOM_KILONOVA_GUESTS_AS_ROOT"         // they are root
	TraitNoSeccomp    = "CUSTOM_KILONOVA_GUESTS_WITHOUT_SECCOMP" // they may make any system call
)

// ServiceState is what an operator decided about a node.
type ServiceState struct {
	Disabled   bool   `json:"disabled,omitempty"` // takes no new instances
	Reason     string `json:"reason,omitempty"`
	Draining   bool   `json:"draining,omitempty"`
	ForcedDown bool   `json:"forced_down,omitempty"`
}

// Clone returns a copy that may be changed.
func (n *Node) Clone() *Node {
	c := *n
	c.Bridges, c.Open = maps.Clone(n.Bridges), slices.Clone(n.Open)
	c.Host.Traits = append([]string(nil), n.Host.Traits...)
	c.Host.Quarantine = append([]string(nil), n.Host.Quarantine...)
	if n.Lost != nil {
		lost := *n.Lost
		c.Lost = &lost
	}
	return &c
}

// JoinToken lets machines enrol. Only the hash of its secret is kept.
type JoinToken struct {
	ID       TokenID `json:"id"`
	Hash     Hash    `json:"hash"` // SHA-256 of the secret
	Uses     int     `json:"uses"` // how many machines may still use it
	Created  Time    `json:"created"`
	Expires  Time    `json:"expires"`
	Zone     string  `json:"zone,omitempty"` // zone given to nodes that name none
	Revision uint64  `json:"revision"`
}

// Authority is the cluster's own certificate authority and secrets. Only peers hold the state, and a peer is
// trusted with all of it.
type Authority struct {
	ClusterID  string       `json:"cluster_id"`
	CACert     []byte       `json:"ca_cert"` // DER
	CAKey      []byte       `json:"ca_key"`  // PKCS#8
	GossipKeys [][]byte     `json:"gossip_keys"`
	TokenKeys  []SigningKey `json:"token_keys"` // newest first; all verify, the first signs
	Created    Time         `json:"created"`
	Revision   uint64       `json:"revision"`

	// Other is trusted beside CACert while the authority is rotated: the next one at first, then the former one.
	Other *AuthorityPair `json:"other,omitempty"`
}

// SigningKey signs API tokens (Ed25519).
type SigningKey struct {
	ID      string `json:"id"`
	Seed    []byte `json:"seed"`
	Created Time   `json:"created"`
}

// AllKnow tells whether every node that may take part knows the commands of a version. Those of a newer one must wait: a node that reads one that it does not
// know stops.
func (v *View) AllKnow(version uint32) bool {
	for n := range v.Nodes() {
		if n.Commands < version && !v.WasRemoved(n.ID) {
			return false
		}
	}
	return true
}

// LeaseCommands is the version of the command set that has leases.
const LeaseCommands uint32 = 3
