package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// plainNode is a ready node of 8 vCPU, 16 GiB and 100 GiB without overcommitment.
func plainNode(name string) *cluster.Node {
	return &cluster.Node{
		ID: cluster.NodeID("id-" + name), Name: name, Zone: "a",
		Capacity: cluster.Capacity{
			VCPUs: 8, MemoryMiB: 16384, DiskGiB: 100, VCPURatio: 1000, MemoryRatio: 1000, DiskRatio: 1000,
		},
		Host:    cluster.HostFacts{Type: "QEMU", Version: 7_002_000, Arch: "x86_64", KVM: true, Ready: true},
		Bridges: map[string]string{"lan": "br0"},
	}
}

// plainIndex holds n plain nodes, n1 upwards.
func plainIndex(n int, o Options) *Index {
	x := New(o)
	for i := range n {
		x.SetNode(plainNode(fmt.Sprintf("n%d", i+1)), cluster.Resources{})
	}
	return x
}

var small = cluster.Resources{VCPUs: 2, MemoryMiB: 2048, DiskGiB: 10}

func specOf(r cluster.Resources) cluster.Spec {
	return cluster.Spec{Flavor: cluster.Flavor{VCPUs: r.VCPUs, MemoryMiB: r.MemoryMiB, DiskGiB: r.DiskGiB}}
}

// A user's create fails. What the user reads names every node and what is wrong with it.
func TestExplain_SaysNodeByNodeWhyNothingFits(t *testing.T) {
	x := New(Options{})
	x.SetNode(plainNode("n1"), cluster.Resources{VCPUs: 6})
	draining := plainNode("n2")
	draining.Service.Draining = true
	x.SetNode(draining, cluster.Resources{})
	x.SetNode(plainNode("n3"), cluster.Resources{})
	x.SetHint("id-n3", Hint{Silent: true, SilentFor: 12 * time.Second})
	bare := plainNode("n4")
	bare.Bridges = nil
	x.SetNode(bare, cluster.Resources{})
	broken := plainNode("n5")
	broken.Host.Ready, broken.Host.Trouble = false, "libvirt does not answer"
	x.SetNode(broken, cluster.Resources{})

	spec := specOf(cluster.Resources{VCPUs: 4, MemoryMiB: 8192, DiskGiB: 20})
	r := NewRequest(&spec, []string{"lan"}, nil)
	if c, ok := x.Choose(&r); ok {
		t.Fatalf("chose %v", c)
	}
	e := x.Explain(&r)
	want := "no node fits 4 vCPU, 8192 MiB, 20 GiB disk: n1 short of 2 vCPU, n4 no bridge lan, n2 draining, " +
		"n3 silent for 12 s, n5 has no hypervisor: libvirt does not answer"
	if got := Sentence(r.Resources, &e); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	removed := []cluster.FilterCount{{Filter: FilterState, Nodes: 3}, {Filter: FilterNetworks, Nodes: 1}, {Filter: FilterCapacity, Nodes: 1}}
	if !slices.Equal(e.Removed, removed) || e.Considered != 5 {
		t.Errorf("considered %d, removed %v", e.Considered, e.Removed)
	}
}

// A large cluster is full. The reasons stay few and say how many there would be.
func TestExplain_ReasonsAreBounded(t *testing.T) {
	x := plainIndex(1000, Options{})
	r := Request{Resources: cluster.Resources{VCPUs: 9}}
	e := x.Explain(&r)
	if len(e.Reasons) != maxReasons+1 || e.Reasons[maxReasons] != "and 980 more" {
		t.Errorf("%d reasons: %v", len(e.Reasons), e.Reasons)
	}
	if got := Sentence(r.Resources, &cluster.Explanation{}); !strings.HasSuffix(got, "there are no nodes") {
		t.Errorf("without nodes: %s", got)
	}
}

// Wishes about the host, one at a time, against one node. Each row says whether the node may run the instance.
func TestChoose_FiltersAsNovaDoes(t *testing.T) {
	node := plainNode("n1")
	node.Host.Traits = []string{"HW_CPU_X86_AVX2", "HW_CPU_X86_SSE42"}
	node.Host.CPUModel = "Skylake-Server-IBRS"
	specs := func(kv ...string) func(*cluster.Spec) {
		return func(s *cluster.Spec) { s.Flavor.ExtraSpecs = pairs(kv) }
	}
	image := func(kv ...string) func(*cluster.Spec) {
		return func(s *cluster.Spec) { s.Boot.Properties = pairs(kv) }
	}
	zone := func(z string) func(*cluster.Spec) { return func(s *cluster.Spec) { s.Scheduling.Zone = z } }
	for _, c := range []struct {
		name string
		ask  func(*cluster.Spec)
		ok   bool
	}{
		{"nothing", specs(), true},
		{"zone", zone("a"), true},
		{"another zone", zone("b"), false},
		{"a trait that is there", specs("trait:HW_CPU_X86_AVX2", "required"), true},
		{"a trait of a group", specs("trait1:HW_CPU_X86_AVX2", "required"), true},
		{"a trait that is missing", specs("trait:HW_CPU_X86_AVX512F", "required"), false},
		{"a missing trait of a named group", specs("trait_cpu:HW_CPU_X86_AVX512F", "required"), false},
		{"a forbidden trait that is there", specs("trait:HW_CPU_X86_AVX2", "forbidden"), false},
		{"a forbidden trait that is missing", specs("trait:HW_CPU_X86_AVX512F", "forbidden"), true},
		{"a scope that is not the scheduler's", specs("hw:cpu_policy", "shared", "quota:cpu_shares", "10"), true},
		{"a scope that looks like trait", specs("traits:X", "required"), true},
		{"own resource classes", specs("resources:VCPU", "4"), true},
		{"an unknown resource class", specs("resources:CUSTOM_GPU", "1"), false},
		{"none of an unknown resource class", specs("resources:CUSTOM_GPU", "0"), true},
		{"hypervisor type", specs("capabilities:hypervisor_type", "QEMU"), true},
		{"another hypervisor type", specs("capabilities:hypervisor_type", "s== Xen"), false},
		{"a version at least", specs("capabilities:hypervisor_version", ">= 6000000"), true},
		{"a version below", specs("capabilities:hypervisor_version", "< 6000000"), false},
		{"a CPU model by part", specs("capabilities:cpu_info:model", "<in> Skylake"), true},
		{"CPU features", specs("capabilities:cpu_info:features", "<all-in> avx2 sse42"), true},
		{"an unknown capability", specs("capabilities:nonsense", "1"), false},
		{"an unscoped key", specs("ssd", "true"), false},
		{"image architecture", image("hw_architecture", "x86_64"), true},
		{"image architecture by another name", image("architecture", "AMD64"), true},
		{"32 bits on 64", image("hw_architecture", "i686"), true},
		{"image of another architecture", image("hw_architecture", "aarch64"), false},
		{"image for KVM", image("img_hv_type", "kvm"), true},
		{"image for QEMU", image("hypervisor_type", "qemu"), true},
		{"image for another hypervisor", image("img_hv_type", "vmware"), false},
		{"image mode", image("hw_vm_mode", "hvm"), true},
		{"image of another mode", image("hw_vm_mode", "xen"), false},
		{"image for a version", image("img_hv_requested_version", ">=6.0,<8"), true},
		{"image for another version", image("img_hv_requested_version", ">=8.0"), false},
		{"image trait", image("trait:HW_CPU_X86_AVX512F", "required"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := New(Options{})
			x.SetNode(node, cluster.Resources{})
			spec := specOf(small)
			c.ask(&spec)
			r := NewRequest(&spec, []string{"lan"}, nil)
			_, ok := x.Choose(&r)
			if e := x.Explain(&r); ok != c.ok || (e.Node != "") != c.ok {
				t.Errorf("chosen: %v, explained: %+v", ok, e)
			}
		})
	}
}

func pairs(kv []string) map[string]string {
	m := make(map[string]string)
	for i := 0; i+1 < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// An administrator names a host. The filters still hold, unless the host was forced; the room always counts.
func TestChoose_ForcedHostNeedsOnlyRoom(t *testing.T) {
	x := plainIndex(2, Options{})
	disabled := plainNode("n3")
	disabled.Service.Disabled = true
	x.SetNode(disabled, cluster.Resources{})
	spec := specOf(small)
	for _, c := range []struct {
		host   string
		forced bool
		size   cluster.Resources
		ok     bool
	}{
		{"n2", false, small, true}, {"n3", false, small, false}, {"n3", true, small, true},
		{"n3", true, cluster.Resources{VCPUs: 9}, false}, {"n9", true, small, false},
	} {
		spec.Scheduling = cluster.Scheduling{Host: c.host, Forced: c.forced, Zone: "elsewhere"}
		if !c.forced {
			spec.Scheduling.Zone = ""
		}
		r := NewRequest(&spec, nil, nil)
		r.Resources = c.size
		got, ok := x.Choose(&r)
		if ok != c.ok || ok && got.Node != cluster.NodeID("id-"+c.host) {
			t.Errorf("%+v: %v, %v", c, got.Node, ok)
		}
		if e := x.Explain(&r); (e.Node != "") != c.ok {
			t.Errorf("%+v: explained as %+v", c, e)
		}
	}
}

// A hundred alike instances arrive at a hundred alike nodes at once. Each node gets one.
func TestChooseMany_EqualNodesTakeTurns(t *testing.T) {
	x := plainIndex(100, Options{})
	rs := make([]Request, 100)
	for i := range rs {
		rs[i] = Request{Resources: small}
	}
	seen := make(map[cluster.NodeID]int)
	for i, d := range x.ChooseMany(rs) {
		seen[d.Node]++
		if d.Node == "" || d.Explanation.Node != d.Node || len(d.Explanation.Scores) == 0 {
			t.Fatalf("decision %d: %+v", i, d)
		}
	}
	if len(seen) != 100 {
		t.Errorf("100 instances on %d nodes", len(seen))
	}
}

// A burst asks for more than there is. What fits is placed, the rest is told why, and no node is promised twice.
func TestChooseMany_StopsAtTheRoomThereIs(t *testing.T) {
	x := plainIndex(3, Options{})
	rs := make([]Request, 20)
	for i := range rs {
		rs[i] = Request{Resources: small}
	}
	placed := make(map[cluster.NodeID]int)
	for _, d := range x.ChooseMany(rs) {
		placed[d.Node]++
		if d.Node == "" && len(d.Explanation.Reasons) != 3 {
			t.Errorf("not placed for no reason: %+v", d)
		}
	}
	if placed[""] != 20-3*4 || placed["id-n1"] != 4 || placed["id-n2"] != 4 || placed["id-n3"] != 4 {
		t.Errorf("placed %v", placed)
	}
}

// Packing fills a node before it begins another.
func TestChooseMany_PackFillsOneNodeFirst(t *testing.T) {
	x := plainIndex(10, Options{Weights: Pack})
	rs := []Request{{Resources: small}, {Resources: small}, {Resources: small}, {Resources: small}, {Resources: small}}
	seen := make(map[cluster.NodeID]int)
	for _, d := range x.ChooseMany(rs) {
		seen[d.Node]++
	}
	if len(seen) != 2 {
		t.Errorf("5 instances that fill 1.25 nodes are on %d", len(seen))
	}
}

// The image is on one of many equal nodes. That one is chosen, and the explanation says why.
func TestChoose_PrefersANodeThatHasTheImage(t *testing.T) {
	x := plainIndex(200, Options{})
	spec := specOf(small)
	r := NewRequest(&spec, nil, []cluster.NodeID{"id-gone", "id-n150"})
	c, ok := x.Choose(&r)
	if !ok || c.Node != "id-n150" {
		t.Fatalf("chose %v, %v", c.Node, ok)
	}
	scores := x.Explained(&r, c).Scores
	if last := scores[len(scores)-1]; last.Weigher != WeigherImage || last.Score != 0.2 {
		t.Errorf("scores %v", scores)
	}
	x.SetHint("id-n150", Hint{DiskFull: true})
	if c, ok := x.Choose(&r); !ok || c.Node == "id-n150" {
		t.Errorf("chose %v, whose disk is full", c.Node)
	}
}

// A node whose disks are busy gets instances only when the others are clearly fuller.
func TestChoose_ShunsPressure(t *testing.T) {
	x := plainIndex(2, Options{})
	x.SetHint("id-n1", Hint{IOPressure: 60})
	for range 3 {
		r := Request{Resources: cluster.Resources{VCPUs: 1, MemoryMiB: 1024, DiskGiB: 1}}
		c, _ := x.Choose(&r)
		if c.Node != "id-n2" {
			t.Fatalf("chose %s", c.Node)
		}
		x.Claim(c.Node, r.Resources)
	}
}

// Every node has a trait of its own, so there are more classes than boards. Each is still found by its trait.
func TestChoose_FindsNodesOfTheMixedClass(t *testing.T) {
	x := New(Options{})
	const nodes = maxClasses + 100
	for i := range nodes {
		n := plainNode(fmt.Sprintf("n%d", i))
		n.Host.Traits = []string{fmt.Sprintf("CUSTOM_%d", i)}
		x.SetNode(n, cluster.Resources{})
	}
	for i := range nodes {
		spec := specOf(small)
		spec.Flavor.ExtraSpecs = map[string]string{fmt.Sprintf("trait:CUSTOM_%d", i): "required"}
		r := NewRequest(&spec, nil, nil)
		if c, ok := x.Choose(&r); !ok || c.Node != cluster.NodeID(fmt.Sprintf("id-n%d", i)) {
			t.Fatalf("for node %d: %v, %v", i, c.Node, ok)
		}
	}
	for i := range nodes {
		x.RemoveNode(cluster.NodeID(fmt.Sprintf("id-n%d", i)))
	}
	if r := (Request{}); x.Len() != 0 || len(x.classFor) != 0 {
		_, ok := x.Choose(&r)
		t.Errorf("%d nodes, %d classes, chosen: %v", x.Len(), len(x.classFor), ok)
	}
}

// Two replicas with the same seed hear the same. They choose the same.
func TestChooseMany_SameSeedSameChoices(t *testing.T) {
	run := func() []cluster.NodeID {
		f := newFleet(3)
		x := f.index(500, Options{Seed: 42})
		var rs []Request
		for range 300 {
			rs = append(rs, f.request())
		}
		var out []cluster.NodeID
		for _, d := range x.ChooseMany(rs) {
			out = append(out, d.Node)
		}
		return out
	}
	if a, b := run(), run(); !slices.Equal(a, b) {
		t.Error("the same calls gave other choices")
	}
}

// Requests that nothing can hold, or that overflow when added up, are refused and break nothing.
func TestChoose_AbsurdSizesAreRefused(t *testing.T) {
	x := plainIndex(3, Options{})
	for _, size := range []cluster.Resources{
		{VCPUs: 1 << 62}, {MemoryMiB: 1 << 40}, {DiskGiB: maxSize}, {VCPUs: 1 << 40, MemoryMiB: 1 << 62, DiskGiB: 1 << 62},
	} {
		r := Request{Resources: size}
		if c, ok := x.Choose(&r); ok {
			t.Errorf("%+v was placed on %s", size, c.Node)
		}
		if e := x.Explain(&r); len(e.Reasons) != 3 {
			t.Errorf("%+v: %v", size, e.Reasons)
		}
	}
}

// Deciding must not feed the garbage collector.
func TestChoose_AllocatesNothing(t *testing.T) {
	f := newFleet(1)
	x := f.index(2000, Options{})
	rs := make([]Request, 64)
	for i := range rs {
		rs[i] = f.request()
		x.Choose(&rs[i])
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		r := &rs[i%len(rs)]
		i++
		if c, ok := x.Choose(r); ok {
			x.Claim(c.Node, r.Resources)
			x.Release(c.Node, r.Resources)
		}
	}); n != 0 {
		t.Errorf("%v allocations per decision", n)
	}
}
