package placement

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// Limits on what a request may name. What is beyond them is left out of the decision.
const (
	maxHolders = 8  // nodes looked at because they have the image
	maxAvoid   = 32 // nodes left out because they were tried
)

// Request is one instance that looks for a node. Make it with NewRequest, ForInstance or ForCreate.
type Request struct {
	Resources cluster.Resources
	Host      string           // only the node of this name; "": any
	Forced    bool             // with Host: every filter but capacity is left out, as for Nova's "zone:host"
	Holders   []cluster.NodeID // nodes that have the image already
	Avoid     []cluster.NodeID // nodes that are ruled out: they were tried, or the instance shall leave them

	Instance cluster.InstanceID // who asks; "": nobody in particular

	needs  needs
	key    string  // equal for two requests whose needs are
	wishes *wishes // nil: none
}

// needs is what a request demands of a node's facts.
type needs struct {
	zone       string
	traits     []string // required; sorted, as are all the lists here
	forbidden  []string
	resources  []string // resource classes beyond vCPU, memory and disk
	capable    []capability
	aggregate  []capability // of the metadata of aggregates
	arch       string       // canonical; "": any
	hypervisor string       // lower case; "": any
	version    string       // of the hypervisor, e.g. ">=6.0,<9"; "": any
	mode       string       // lower case; "": any
	labels     []string
}

// capability is one requirement of ComputeCapabilitiesFilter or AggregateInstanceExtraSpecsFilter.
type capability struct{ path, want string }

// NewRequest reads what a specification asks of a node: its flavor's size and extra specs, its image's properties, its
// scheduling wishes. Labels are the provider networks that its ports are on; holders are the nodes that have its image.
func NewRequest(spec *cluster.Spec, labels []string, holders []cluster.NodeID) Request {
	r := Request{
		Resources: spec.Resources(),
		Host:      spec.Scheduling.Host,
		Forced:    spec.Scheduling.Forced && spec.Scheduling.Host != "",
		Holders:   holders[:min(len(holders), maxHolders)],
	}
	n := &r.needs
	n.zone = spec.Scheduling.Zone
	n.labels = slices.Compact(slices.Sorted(slices.Values(labels)))
	n.readExtraSpecs(spec.Flavor.ExtraSpecs)
	n.readImage(spec.Boot.Properties)
	n.sort()
	r.key = n.encode()
	return r
}

// ForInstance makes the request of an instance that waits for a node.
func ForInstance(v *cluster.View, in *cluster.Instance) Request {
	return withoutVolumes(v, in).withVolumes(v, v.VolumeNeeds(in.ID))
}

// withoutVolumes is ForInstance as if the instance had no volumes.
func withoutVolumes(v *cluster.View, in *cluster.Instance) Request {
	var networks []cluster.NetworkID
	for _, id := range in.Ports {
		if p, ok := v.Port(id); ok {
			networks = append(networks, p.Network)
		}
	}
	spec := in.Spec
	if in.Mode.Host != "" { // it comes back from being shelved, to where the operator wants it
		spec.Scheduling.Host = in.Mode.Host
	}
	r := NewRequest(&spec, labelsOf(v, networks), holdersOf(v, in.Spec.Image))
	r.Instance, r.wishes = in.ID, wishesOf(v, in)
	return r
}

// ForCommand makes the requests of all items of a command that creates instances. They share what the items share.
func ForCommand(v *cluster.View, c *cluster.CreateInstances) []Request {
	w := wishesOf(v, &cluster.Instance{Project: c.Project, Spec: c.Spec})
	rs := make([]Request, len(c.Items))
	for i := range rs {
		rs[i] = forItem(v, c, i)
		rs[i].wishes = w
	}
	return rs
}

// ForCreate makes the request of one item of a command that creates instances.
func ForCreate(v *cluster.View, c *cluster.CreateInstances, item int) Request {
	r := forItem(v, c, item)
	r.wishes = wishesOf(v, &cluster.Instance{Project: c.Project, Spec: c.Spec})
	return r
}

// forItem is ForCreate without the wishes.
func forItem(v *cluster.View, c *cluster.CreateInstances, item int) Request {
	var networks []cluster.NetworkID
	for _, p := range c.Items[item].Ports {
		switch {
		case p.New != nil:
			networks = append(networks, p.New.Network)
		case p.Existing != "":
			if port, ok := v.Port(p.Existing); ok {
				networks = append(networks, port.Network)
			}
		}
	}
	r := NewRequest(&c.Spec, labelsOf(v, networks), holdersOf(v, c.Spec.Image)).withVolumes(v, v.NewVolumeNeeds(c.Items[item].Volumes))
	r.Instance = c.Items[item].ID
	return r
}

// Avoiding returns the request with nodes left out. Only the first 32 count.
func (r Request) Avoiding(nodes ...cluster.NodeID) Request {
	r.Avoid = nodes[:min(len(nodes), maxAvoid)]
	return r
}

func labelsOf(v *cluster.View, networks []cluster.NetworkID) []string {
	var labels []string
	for _, id := range networks {
		if n, ok := v.Network(id); ok && n.Physical != "" {
			labels = append(labels, n.Physical)
		}
	}
	return labels
}

func holdersOf(v *cluster.View, id cluster.ImageID) []cluster.NodeID {
	if img, ok := v.Image(id); ok && img.Data != nil {
		return img.Data.Nodes
	}
	return nil
}

// readExtraSpecs takes from a flavor what Nova's scheduler would. Keys without a scope, and those of the scope
// "capabilities", go to ComputeCapabilitiesFilter, where a key that hosts do not know removes them all. Keys of other
// scopes (hw, quota, ...) are for the hypervisor.
func (n *needs) readExtraSpecs(specs map[string]string) {
	for k, want := range specs {
		scope, name, scoped := strings.Cut(k, ":")
		switch {
		case !scoped:
			n.capable = append(n.capable, capability{k, want})
		case scope == "capabilities":
			n.capable = append(n.capable, capability{name, want})
		case scope == "aggregate_instance_extra_specs":
			n.aggregate = append(n.aggregate, capability{name, want})
		case isGroup(scope, "trait") && want == "required":
			n.traits = append(n.traits, name)
		case isGroup(scope, "trait") && want == "forbidden":
			n.forbidden = append(n.forbidden, name)
		case isGroup(scope, "resources") && !isOwnResource(name) && want != "0":
			n.resources = append(n.resources, name)
		}
	}
}

// isGroup tells whether a scope is a name, or that name with a group suffix such as "trait1" or "trait_ssd".
func isGroup(scope, name string) bool {
	suffix, ok := strings.CutPrefix(scope, name)
	if !ok || suffix == "" || suffix[0] == '_' {
		return ok
	}
	_, err := strconv.ParseUint(suffix, 10, 32)
	return err == nil
}

// isOwnResource tells whether a resource class is one that every node has; the flavor's own figures count for those.
func isOwnResource(class string) bool {
	return class == "VCPU" || class == "MEMORY_MB" || class == "DISK_GB"
}

// readImage takes from an image's properties what ImagePropertiesFilter and the image's traits ask.
func (n *needs) readImage(properties map[string]string) {
	n.arch = canonicalArch(firstOf(properties, "hw_architecture", "architecture"))
	n.hypervisor = strings.ToLower(firstOf(properties, "img_hv_type", "hypervisor_type"))
	for k, want := range properties {
		if trait, ok := strings.CutPrefix(k, "trait:"); ok && want == "required" {
			n.traits = append(n.traits, trait)
		}
	}
	n.version = properties["img_hv_requested_version"]
	n.mode = strings.ToLower(firstOf(properties, "hw_vm_mode", "vm_mode"))
}

func firstOf(m map[string]string, keys ...string) string {
	for _, k := range keys {
		if s := m[k]; s != "" {
			return s
		}
	}
	return ""
}

func (n *needs) sort() {
	for _, list := range []*[]string{&n.traits, &n.forbidden, &n.resources} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	for _, list := range [][]capability{n.capable, n.aggregate} {
		slices.SortFunc(list, func(a, b capability) int {
			return strings.Compare(a.path+"\x00"+a.want, b.path+"\x00"+b.want)
		})
	}
}

// encode gives the needs as a key for a map.
func (n *needs) encode() string {
	var b strings.Builder
	for _, s := range []string{n.zone, n.arch, n.hypervisor, n.version, n.mode} {
		writePart(&b, s)
	}
	for _, list := range [][]string{n.traits, n.forbidden, n.resources, n.labels} {
		writePart(&b, strconv.Itoa(len(list)))
		for _, s := range list {
			writePart(&b, s)
		}
	}
	for _, list := range [][]capability{n.capable, n.aggregate} {
		writePart(&b, strconv.Itoa(len(list)))
		for _, c := range list {
			writePart(&b, c.path)
			writePart(&b, c.want)
		}
	}
	return b.String()
}
