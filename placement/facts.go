package placement

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// defaultZone is the availability zone of nodes that name none, as in Nova.
const defaultZone = "nova"

// facts is what is the same for every node of a class.
type facts struct {
	zone   string
	host   cluster.HostFacts // Ready, Trouble and Quarantine are not looked at
	traits []string          // sorted
	labels []string          // provider networks that have a bridge; sorted

	aggregated aggregated
}

// factsOf gives the facts of a node, of which its aggregates say more, or, with nil, nothing.
func factsOf(n *cluster.Node, more *aggregated) *facts {
	f := &facts{host: n.Host, traits: slices.Clone(n.Host.Traits)}
	if more != nil {
		f.aggregated = *more
	}
	f.zone = cmp.Or(f.aggregated.zone, n.Zone, defaultZone)
	slices.Sort(f.traits)
	for label := range n.Bridges {
		f.labels = append(f.labels, label)
	}
	slices.Sort(f.labels)
	return f
}

// key is equal for two nodes exactly when every filter on facts treats them alike.
func (f *facts) key() string {
	h := &f.host
	var b strings.Builder
	for _, s := range []string{f.zone, f.aggregated.key, h.Type, h.Arch, h.CPUModel, h.CPUVendor} {
		writePart(&b, s)
	}
	for _, n := range []int{h.Version, h.Sockets, h.Cores, h.Threads} {
		writePart(&b, strconv.Itoa(n))
	}
	writePart(&b, strconv.FormatBool(h.KVM))
	for _, list := range [][]string{f.traits, f.labels} {
		writePart(&b, strconv.Itoa(len(list)))
		for _, s := range list {
			writePart(&b, s)
		}
	}
	return b.String()
}

// writePart writes s so that no two different lists of parts come out alike.
func writePart(b *strings.Builder, s string) {
	b.WriteString(strconv.Itoa(len(s)))
	b.WriteByte(':')
	b.WriteString(s)
}

func has(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}

// runsArch tells whether the host's hypervisor runs guests of an architecture (canonical names).
func (f *facts) runsArch(arch string) bool {
	own := canonicalArch(f.host.Arch)
	return arch == own || own == "x86_64" && arch == "i686"
}

// runsType tells whether the host offers a hypervisor type, in lower case, as an image may ask for it. A libvirt host
// with KVM also emulates.
func (f *facts) runsType(kind string) bool {
	own := strings.ToLower(f.host.Type)
	switch kind {
	case "kvm":
		return f.host.KVM && own == "qemu"
	default:
		return kind == own
	}
}

// canonicalArch gives the name that Nova uses for an architecture.
func canonicalArch(s string) string {
	switch s = strings.ToLower(s); s {
	case "amd64":
		return "x86_64"
	case "i386", "i486", "i586", "x86", "x86_32":
		return "i686"
	case "arm64":
		return "aarch64"
	}
	return s
}

// capability finds what a key of ComputeCapabilitiesFilter names; false when nodes have no such thing.
func (f *facts) capability(path string) (string, bool) {
	h := &f.host
	switch path {
	case "hypervisor_type":
		return h.Type, true
	case "hypervisor_version":
		return strconv.Itoa(h.Version), true
	case "cpu_info:arch":
		return h.Arch, true
	case "cpu_info:model":
		return h.CPUModel, true
	case "cpu_info:vendor":
		return h.CPUVendor, true
	case "cpu_info:topology:sockets":
		return strconv.Itoa(h.Sockets), true
	case "cpu_info:topology:cores":
		return strconv.Itoa(h.Cores), true
	case "cpu_info:topology:threads":
		return strconv.Itoa(h.Threads), true
	case "cpu_info:features":
		return f.features(), true
	}
	return "", false
}

// features lists CPU flags as libvirt spells them, from the x86 traits that the host has.
func (f *facts) features() string {
	var names []string
	for _, t := range f.traits {
		if flag, ok := strings.CutPrefix(t, "HW_CPU_X86_"); ok {
			names = append(names, strings.ToLower(flag))
		}
	}
	return "[" + strings.Join(names, ", ") + "]"
}
