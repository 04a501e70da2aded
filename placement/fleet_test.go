package placement

import (
	"fmt"
	"math/rand/v2"

	"github.com/kilonova/kilonova/cluster"
)

// fleet makes clusters that look like real ones: a few kinds of hardware, some zones, nodes that are full to any degree,
// and some that take nothing.
type fleet struct {
	rng     *rand.Rand
	flavors []cluster.Flavor
	kinds   []cluster.Node // hardware, without identity
	zones   []string
	crowded bool // nearly all nodes are full
}

func newFleet(seed uint64) *fleet {
	f := &fleet{rng: rand.New(rand.NewPCG(seed, 1)), zones: []string{"a", "b", "c"}}
	for i, size := range []cluster.Resources{
		{VCPUs: 1, MemoryMiB: 512, DiskGiB: 1}, {VCPUs: 1, MemoryMiB: 2048, DiskGiB: 20},
		{VCPUs: 2, MemoryMiB: 4096, DiskGiB: 40}, {VCPUs: 4, MemoryMiB: 8192, DiskGiB: 80},
		{VCPUs: 8, MemoryMiB: 16384, DiskGiB: 160}, {VCPUs: 16, MemoryMiB: 32768, DiskGiB: 160},
		{VCPUs: 2, MemoryMiB: 16384, DiskGiB: 40}, {VCPUs: 16, MemoryMiB: 8192, DiskGiB: 20},
	} {
		f.flavors = append(f.flavors, flavorOf(fmt.Sprintf("f%d", i), size))
	}
	for i := range 4 {
		n := cluster.Node{Capacity: cluster.Capacity{
			VCPUs: int64(16 << i), MemoryMiB: int64(65536 << i), DiskGiB: int64(500 << i),
			VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000, ReservedMemoryMiB: 512,
		}}
		n.Host = cluster.HostFacts{Type: "QEMU", Version: 9_000_000, Arch: "x86_64", KVM: i > 0, Ready: true}
		n.Host.Traits = []string{"HW_CPU_X86_SSE42", "HW_CPU_X86_AVX2", "HW_CPU_X86_AVX512F"}[:i%3+1]
		n.Bridges = map[string]string{"lan": "br0"}
		if i%2 == 1 {
			n.Bridges["dmz"] = "br1"
		}
		f.kinds = append(f.kinds, n)
	}
	return f
}

func flavorOf(name string, r cluster.Resources) cluster.Flavor {
	return cluster.Flavor{Name: name, VCPUs: r.VCPUs, MemoryMiB: r.MemoryMiB, DiskGiB: r.DiskGiB}
}

func (f *fleet) sizes() []cluster.Resources {
	var sizes []cluster.Resources
	for i := range f.flavors {
		sizes = append(sizes, f.flavors[i].Resources())
	}
	return sizes
}

// node makes the i-th node and what is allocated on it. Three in a hundred take nothing; the others are full to any degree,
// not alike in each resource.
func (f *fleet) node(i int) (*cluster.Node, cluster.Resources) {
	n := f.kinds[f.rng.IntN(len(f.kinds))].Clone()
	n.ID = cluster.NodeID(fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i))
	n.Name = fmt.Sprintf("n%d", i)
	n.Zone = f.zones[f.rng.IntN(len(f.zones))]
	switch f.rng.IntN(100) {
	case 0:
		n.Service.Disabled = true
	case 1:
		n.Service.Draining = true
	case 2:
		n.Host.Ready = false
	}
	limit, full := n.Capacity.Limit(), f.rng.Float64()
	if f.crowded && f.rng.IntN(50) != 0 {
		full = 1.2
	}
	part := func(whole int64) int64 {
		return int64(float64(whole) * min(1, max(0, full+0.3*(f.rng.Float64()-0.5))))
	}
	return n, cluster.Resources{
		VCPUs: part(limit.VCPUs), MemoryMiB: part(limit.MemoryMiB), DiskGiB: part(limit.DiskGiB),
	}
}

// index makes an index of n nodes.
func (f *fleet) index(n int, o Options) *Index {
	x := New(o)
	x.SetSizes(f.sizes())
	for i := range n {
		x.SetNode(f.node(i))
	}
	return x
}

// request makes a request of any of the flavors, a third of them with wishes about zone, traits or networks.
func (f *fleet) request() Request {
	spec := cluster.Spec{Flavor: f.flavors[f.rng.IntN(len(f.flavors))]}
	labels := []string{"lan"}
	switch f.rng.IntN(9) {
	case 0:
		spec.Scheduling.Zone = f.zones[f.rng.IntN(len(f.zones))]
	case 1:
		spec.Flavor.ExtraSpecs = map[string]string{"trait:HW_CPU_X86_AVX2": "required"}
	case 2:
		labels = append(labels, "dmz")
	}
	return NewRequest(&spec, labels, nil)
}
