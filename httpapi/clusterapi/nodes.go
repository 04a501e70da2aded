package clusterapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Overview is the cluster as the node that answers sees it.
type Overview struct {
	ClusterID string         `json:"cluster_id"`
	Node      cluster.NodeID `json:"node"`
	Leader    cluster.NodeID `json:"leader"` // "": none is known
	Nodes     int            `json:"nodes"`
	Instances int            `json:"instances"`
	Index     uint64         `json:"index"`
	Version   string         `json:"version"`

	Restored *Restoration `json:"restored,omitempty"` // the cluster was made of another one's backup
}

// Node is a node with what is known of it at the moment.
type Node struct {
	ID        cluster.NodeID    `json:"id"`
	Name      string            `json:"name"`
	Address   string            `json:"address"`
	Zone      string            `json:"zone"`
	State     string            `json:"state"` // up, down
	SilentFor string            `json:"silent_for,omitempty"`
	Status    string            `json:"status"` // enabled, disabled, draining, not ready
	Why       string            `json:"why,omitempty"`
	Instances int               `json:"instances"`
	Used      cluster.Resources `json:"used"`
	Limit     cluster.Resources `json:"limit"`
	KVM       bool              `json:"kvm"`
	Found     []string          `json:"quarantine,omitempty"`
	Exposed   []string          `json:"unprotected,omitempty"` // what this host does without
	Version   string            `json:"version"`
	Enrolled  time.Time         `json:"enrolled"`
	Drain     *Drain            `json:"drain,omitempty"` // while it is draining
	Membership
	Networks
	Lease
}

// Membership is a node's part in the cluster.
type Membership struct {
	Role string `json:"role"` // hypervisor, witness
	Part string `json:"raft"` // leader, voter, non-voter, none
}

// Networks are what a node's guests can be on.
type Networks struct {
	Bridges map[string]string `json:"bridges,omitempty"`
	Open    []string          `json:"open_networks,omitempty"` // members may make networks there
}

// Lease is what hangs on a node's lease.
type Lease struct {
	Lost    *Loss `json:"lost,omitempty"` // while it is taken for dead
	Guarded int   `json:"guarded"`        // instances that are started elsewhere when it dies
	Mirrors int   `json:"mirrors"`        // instances of which another node has a current replica
}

// Loss is that a node was taken for dead.
type Loss struct {
	At        time.Time `json:"at"`
	Confirmed bool      `json:"confirmed"` // by an operator
}

func (s *server) show(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	o := Overview{Node: s.Self, Index: view.Index(), Version: s.Version, Restored: restoration(view.Restored())}
	if a := view.Authority(); a != nil {
		o.ClusterID = a.ClusterID
	}
	members := s.Members.Members()
	for n := range view.Nodes() {
		o.Nodes++
		if members[n.ID].Leader {
			o.Leader = n.ID
		}
	}
	for range view.Instances() {
		o.Instances++
	}
	return o, nil
}

func (s *server) listNodes(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	out := []Node{}
	members := s.Members.Members()
	for n := range view.Nodes() {
		out = append(out, s.render(view, n, members[n.ID]))
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return map[string]any{"nodes": out}, nil
}

func (s *server) showNode(r *http.Request) (any, error) {
	view, n, err := s.find(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"node": s.render(view, n, s.Members.Members()[n.ID])}, nil
}

// find looks the node of the path up, by ID or by name.
func (s *server) find(r *http.Request) (*cluster.View, *cluster.Node, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, nil, err
	}
	name := chi.URLParam(r, "node")
	if n, ok := view.Node(cluster.NodeID(name)); ok {
		return view, n, nil
	}
	if n, ok := view.NodeNamed(name); ok {
		return view, n, nil
	}
	return nil, nil, cluster.Errorf(cluster.NotFound, "Node %s could not be found.", name)
}

func (s *server) render(view *cluster.View, n *cluster.Node, m Member) Node {
	out := Node{
		ID: n.ID, Name: n.Name, Address: n.Address, Zone: view.ZoneOf(n),
		State: "up", Membership: Membership{role(n), part(m)}, Used: view.Allocated(n.ID), Limit: n.Capacity.Limit(),
		KVM: n.Host.KVM, Networks: Networks{n.Bridges, n.Open}, Exposed: exposed(&n.Host), Found: n.Host.Quarantine, Version: n.Version, Enrolled: n.Enrolled.Std(),
	}
	if !m.Up {
		out.State = "down"
		out.SilentFor = m.SilentFor.Round(time.Second).String()
	}
	if out.Status, out.Why = status(n); view.WasRemoved(n.ID) {
		out.Status, out.Why = "given up", "the cluster was recovered without it, and it cannot come back"
	}
	for in := range view.InstancesOn(n.ID) {
		out.Instances++
		if in.Guarded() {
			out.Guarded++
		}
		if in.CurrentReplica() != nil {
			out.Mirrors++
		}
	}
	if n.Lost != nil {
		out.Lost = &Loss{n.Lost.At.Std(), n.Lost.Confirmed}
	}
	if n.Service.Draining {
		out.Drain = s.drainOf(view, n.ID)
	}
	return out
}

// exposed says what a host does without, in the operator's words. A simulated host has no guests to protect, and of one that was not
// looked at nothing is known.
func exposed(h *cluster.HostFacts) []string {
	if h.Type == "" || h.Type == simulated {
		return nil
	}
	var out []string
	if !h.KVM {
		out = append(out, "no KVM: guests are emulated, slowly, and QEMU does not count emulation as a security boundary")
	}
	if h.Confinement == "none" {
		out = append(out, "no AppArmor or SELinux confines QEMU: a guest that breaks out of it has the rights of libvirt's QEMU user")
	}
	if slices.Contains(h.Traits, cluster.TraitGuestsAsRoot) {
		out = append(out, `QEMU is root: a guest that breaks out of it has the whole host (set user = "libvirt-qemu" in /etc/libvirt/qemu.conf)`)
	}
	if slices.Contains(h.Traits, cluster.TraitNoSeccomp) {
		out = append(out, "QEMU has no seccomp sandbox: a guest that breaks out of it may make any system call (remove seccomp_sandbox = 0 from /etc/libvirt/qemu.conf)")
	}
	if !h.Watchdog {
		out = append(out, "no hardware watchdog: if its kernel hangs for a while and then goes on, a guest that was started elsewhere meanwhile may run twice for a moment")
	}
	return out
}

// simulated is what the simulated hypervisor calls itself.
const simulated = "fake"

func part(m Member) string {
	switch {
	case m.Leader:
		return "leader"
	case m.Voter:
		return "voter"
	case m.InRaft:
		return "non-voter"
	}
	return "none"
}

func role(n *cluster.Node) string {
	if n.Witness {
		return "witness"
	}
	return "hypervisor"
}

func status(n *cluster.Node) (status, why string) {
	switch {
	case n.Lost != nil:
		return "lost", "taken for dead"
	case n.Service.Draining:
		return "draining", n.Service.Reason
	case n.Service.Disabled:
		return "disabled", n.Service.Reason
	case n.Witness:
		return "enabled", ""
	case !n.Host.Ready:
		return "not ready", n.Host.Trouble
	}
	return "enabled", n.Host.Trouble
}
