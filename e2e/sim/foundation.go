package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

const (
	someProject cluster.ProjectID = "0123456789abcdef0123456789abcdef"
	someUser    cluster.UserID    = "fedcba9876543210fedcba9876543210"
	someNetwork cluster.NetworkID = "11111111-0000-4000-8000-000000000001"
	someSubnet  cluster.SubnetID  = "11111111-0000-4000-8000-000000000002"
	someImage   cluster.ImageID   = "11111111-0000-4000-8000-000000000003"
)

// maxInstances is the quota of the project: low enough to be met.
const maxInstances = 60

var flavors = []cluster.Flavor{
	{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 256, DiskGiB: 1},
	{ID: "2", Name: "small", VCPUs: 2, MemoryMiB: 1024, DiskGiB: 5},
	{ID: "3", Name: "large", VCPUs: 4, MemoryMiB: 4096, DiskGiB: 20},
}

// capacity is what every machine has: room for a few large instances, so that it runs out now and then.
var capacity = cluster.Capacity{
	VCPUs: 4, MemoryMiB: 16 << 10, DiskGiB: 80, ReservedMemoryMiB: 512,
	VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000,
}

// nodeRecord is what a machine says about itself.
func (w *World) nodeRecord(m *machine) cluster.Node {
	c := capacity
	if w.cfg.Bug == BugInflatedCapacity {
		c.VCPURatio, c.MemoryRatio, c.DiskRatio = 40000, 10000, 10000
	}
	return cluster.Node{
		ID: m.id, Name: fmt.Sprintf("n%d", m.number), Address: fmt.Sprintf("10.9.%d.%d", m.number/250, 1+m.number%250),
		Zone: "nova", Voter: cluster.VoterAuto, Commands: cluster.CommandVersion, Capacity: c,
		Host: cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true, Traits: []string{cluster.TraitSharedVolumes}}, Bridges: map[string]string{"lan": "br0"},
	}
}

// found makes the cluster: nodes, an image, a network. It is the beginning of the log.
func (w *World) found() {
	now := cluster.At(time.Now())
	ops := []cluster.Op{
		&cluster.InitCluster{
			Authority: cluster.Authority{ClusterID: "simulated", CACert: []byte("c"), CAKey: []byte("k"), GossipKeys: [][]byte{make([]byte, 32)},
				TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
			Node: w.nodeRecord(w.machines[0]),
			Roles: []cluster.Role{{ID: "r1", Name: "admin", BuiltIn: true}, {ID: "r2", Name: "member", BuiltIn: true},
				{ID: "r3", Name: "reader", BuiltIn: true}},
			Project: cluster.Project{ID: someProject, Name: "admin"}, Admin: cluster.User{ID: someUser, Name: "admin", PasswordHash: "x"},
		},
		&cluster.PutJoinToken{Token: cluster.JoinToken{ID: "t1", Hash: cluster.Hash{1}, Uses: max(1, len(w.machines)-1), Expires: now.Add(time.Hour)}},
	}
	for _, m := range w.machines[1:] {
		ops = append(ops, &cluster.EnrolNode{Token: "t1", Secret: cluster.Hash{1}, Node: w.nodeRecord(m)})
	}
	ops = append(ops,
		&cluster.PutImage{Image: cluster.Image{ID: someImage, Owner: someProject, Name: "tiny", Status: cluster.ImageActive,
			Visibility: cluster.Public, Format: cluster.ImageFormat{Disk: "qcow2", Container: "bare"},
			Data: &cluster.ImageData{Root: cluster.Hash{9}, Size: 1, MD5: strings.Repeat("0", 32), SHA512: strings.Repeat("0", 128),
				Nodes: []cluster.NodeID{w.machines[0].id}}}},
		&cluster.PutNetwork{Network: cluster.Network{ID: someNetwork, Project: someProject, Name: "lan", Physical: "lan", MTU: 1500, PortSecurity: true}},
		&cluster.PutSubnet{Subnet: cluster.Subnet{ID: someSubnet, Project: someProject, Network: someNetwork, Name: "lan4", CIDR: "10.0.0.0/16",
			Gateway: "10.0.0.1", Pools: []cluster.AddressPool{{Start: "10.0.0.2", End: "10.0.255.254"}}}},
		&cluster.PutQuota{Quota: cluster.Quota{Project: someProject, Limits: map[cluster.QuotaName]int64{
			cluster.QuotaInstances: w.quota(), cluster.QuotaCores: cluster.Unlimited, cluster.QuotaRAM: cluster.Unlimited,
			cluster.QuotaPorts: cluster.Unlimited, cluster.QuotaVolumes: cluster.Unlimited, cluster.QuotaGigabytes: cluster.Unlimited}}},
		&cluster.PutSettings{Settings: cluster.Settings{Lease: quickLease}},
	)
	for i := range flavors {
		ops = append(ops, &cluster.PutFlavor{Flavor: flavors[i]})
	}
	for _, op := range append(ops, nil) {
		if op == nil { // no lease was ever granted by the settings before these
			op = &cluster.PutSettings{Settings: cluster.Settings{Revision: w.ledger.latest().Settings().Revision}, Settled: true}
		}
		for _, r := range w.ledger.commit([]cluster.Command{{Time: now, Op: op}}) {
			if r.Err != nil {
				panic(fmt.Sprintf("sim: the foundation is refused: %T: %v", op, r.Err))
			}
		}
	}
}

// quota is how many instances there may be.
func (w *World) quota() int64 { return max(maxInstances, int64(len(w.machines))) }

// createOp asks for one instance under each name. Draw gives what its IDs are made of.
func createOp(names []string, f cluster.Flavor, draw func(i int) uint64) *cluster.CreateInstances {
	op := &cluster.CreateInstances{
		Request: "req-create", Project: someProject, User: someUser,
		Spec: cluster.Spec{Image: someImage, Flavor: f},
	}
	for i, name := range names {
		n := draw(i)
		op.Items = append(op.Items, cluster.NewInstance{
			ID: cluster.InstanceID(uuid(1, n)), Name: name, Hostname: name,
			Ports: []cluster.NewPort{{New: newPort(n)}},
		})
	}
	return op
}

// uuid writes a number as a UUID of some kind.
func uuid(kind uint16, n uint64) string {
	return fmt.Sprintf("%08x-%04x-4%03x-8000-%012x", uint32(n>>32), kind, n>>20&0xfff, n&0xffffffffffff)
}
