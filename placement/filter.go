package placement

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// The names of the filters, as explanations show them.
const (
	FilterHost         = "requested_host"
	FilterAvoid        = "avoided"
	FilterState        = "compute_state"
	FilterGroup        = "server_group"
	FilterSame         = "same_host"
	FilterDifferent    = "different_host"
	FilterNear         = "near_host"
	FilterZone         = "availability_zone"
	FilterAggregates   = "aggregate_instance_extra_specs"
	FilterTraits       = "traits"
	FilterCapabilities = "compute_capabilities"
	FilterImage        = "image_properties"
	FilterNetworks     = "networks"
	FilterCapacity     = "capacity"
)

// scope is what a filter looks at, and so when it has to run.
type scope int

const (
	onNode  scope = iota // which node it is: for each node looked at
	onState              // the state of the node: whenever that changes; the node is open or it is not
	onFacts              // the facts of the class: once for each class and key of needs
	onRoom               // the room that is left: the board answers
)

// subject is a node as filters see it.
type subject struct {
	node  *cluster.Node
	hint  Hint
	facts *facts
	free  cluster.Resources

	claims *groupClaims
}

// filter removes nodes. Its why gives the reason in words that follow the node's name ("short of 2 vCPU"), or "" when the
// node may stay.
type filter struct {
	name  string
	scope scope
	why   func(*Request, subject) string
}

// filters is every filter, in the order in which they are counted.
var filters = []filter{
	{FilterHost, onNode, whyHost},
	{FilterAvoid, onNode, whyAvoid},
	{FilterState, onState, whyState},
	{FilterZone, onFacts, whyZone},
	{FilterAggregates, onFacts, whyAggregates},
	{FilterTraits, onFacts, whyTraits},
	{FilterCapabilities, onFacts, whyCapabilities},
	{FilterImage, onFacts, whyImage},
	{FilterNetworks, onFacts, whyNetworks},
	{FilterSame, onNode, whySameHost},
	{FilterDifferent, onNode, whyDifferentHost},
	{FilterNear, onNode, whyNear},
	{FilterGroup, onNode, whyGroup},
	{FilterCapacity, onRoom, whyCapacity},
}

// applies tells whether a filter is asked for a request at all: a forced host only needs the room, and to keep the policy
// of a server group, because applying the command looks at nothing else.
func (f *filter) applies(r *Request) bool {
	return !r.Forced || f.scope == onRoom || f.name == FilterHost || f.name == FilterGroup
}

func whyHost(r *Request, s subject) string {
	if r.Host == "" || r.Host == s.node.Name {
		return ""
	}
	return "is not the requested host " + r.Host
}

func whyAvoid(r *Request, s subject) string {
	if slices.Contains(r.Avoid, s.node.ID) {
		return "is ruled out"
	}
	return ""
}

func whyState(_ *Request, s subject) string {
	n := s.node
	switch {
	case n.Witness:
		return "is a witness"
	case n.Lost != nil:
		return "taken for dead"
	case n.Service.ForcedDown:
		return "forced down"
	case n.Service.Draining:
		return "draining"
	case n.Service.Disabled && n.Service.Reason != "":
		return "disabled: " + n.Service.Reason
	case n.Service.Disabled:
		return "disabled"
	case s.hint.Silent && s.hint.SilentFor > 0:
		return fmt.Sprintf("silent for %d s", int64(s.hint.SilentFor.Round(time.Second)/time.Second))
	case s.hint.Silent:
		return "silent"
	case !n.Host.Ready && n.Host.Trouble != "":
		return "has no hypervisor: " + n.Host.Trouble
	case !n.Host.Ready:
		return "has no hypervisor"
	case s.hint.DiskFull:
		return "has a full disk"
	}
	return ""
}

func whyZone(r *Request, s subject) string {
	if r.needs.zone == "" || r.needs.zone == s.facts.zone {
		return ""
	}
	return "is in zone " + s.facts.zone
}

func whyTraits(r *Request, s subject) string {
	for _, t := range r.needs.traits {
		if !has(s.facts.traits, t) {
			return "lacks trait " + t
		}
	}
	for _, t := range r.needs.forbidden {
		if has(s.facts.traits, t) {
			return "has forbidden trait " + t
		}
	}
	for _, class := range r.needs.resources {
		return "has no " + class
	}
	return ""
}

func whyCapabilities(r *Request, s subject) string {
	for _, c := range r.needs.capable {
		have, ok := s.facts.capability(c.path)
		if !ok {
			return "knows no capability " + c.path
		}
		if !satisfies(have, c.want) {
			return fmt.Sprintf("has %s %q, not %q", c.path, have, c.want)
		}
	}
	return ""
}

func whyImage(r *Request, s subject) string {
	if a := r.needs.arch; a != "" && !s.facts.runsArch(a) {
		return fmt.Sprintf("runs %s, not %s", s.facts.host.Arch, a)
	}
	if h := r.needs.hypervisor; h != "" && !s.facts.runsType(h) {
		return "does not offer " + h
	}
	if m := r.needs.mode; m != "" && m != "hvm" {
		return "does not run guests of mode " + m
	}
	if v := r.needs.version; v != "" && !versionMeets(s.facts.host.Version, v) {
		return "has a hypervisor of another version than " + v
	}
	return ""
}

func whyNetworks(r *Request, s subject) string {
	for _, l := range r.needs.labels {
		if !has(s.facts.labels, l) {
			return "no bridge " + l
		}
	}
	return ""
}

func whyCapacity(r *Request, s subject) string {
	var short []string
	add := func(need, free int64, unit string) {
		if need > free {
			short = append(short, fmt.Sprintf("%d %s", need-free, unit))
		}
	}
	add(r.Resources.VCPUs, s.free.VCPUs, "vCPU")
	add(r.Resources.MemoryMiB, s.free.MemoryMiB, "MiB")
	add(r.Resources.DiskGiB, s.free.DiskGiB, "GiB disk")
	if len(short) == 0 {
		return ""
	}
	return "short of " + strings.Join(short, ", ")
}
