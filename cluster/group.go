package cluster

import "slices"

// GroupID names a server group: a UUID in lower-case canonical form.
type GroupID string

// ServerGroup is a wish about where instances are to each other. An instance joins one when it is made (Scheduling.Group)
// and leaves it when it is gone.
type ServerGroup struct {
	ID         GroupID     `json:"id"`
	Number     int64       `json:"number"` // counts all; their order in lists
	Revision   uint64      `json:"revision"`
	Project    ProjectID   `json:"project"`
	User       UserID      `json:"user"`
	Name       string      `json:"name"`
	Policy     GroupPolicy `json:"policy"`
	MaxPerHost int64       `json:"max_per_host,omitempty"` // with anti-affinity: members that one node may have; 0: one, not said
	Created    Time        `json:"created"`
}

// GroupPolicy is what a server group wishes.
type GroupPolicy string

// The policies. The hard ones are never broken by a new placement: Apply refuses it. The soft ones only count in the choice.
const (
	Affinity         GroupPolicy = "affinity"      // all members on one node
	AntiAffinity     GroupPolicy = "anti-affinity" // at most MaxPerHost members on each node
	SoftAffinity     GroupPolicy = "soft-affinity"
	SoftAntiAffinity GroupPolicy = "soft-anti-affinity"
)

// Most is how many members a node may have at most, when the policy limits that; else 0.
func (g *ServerGroup) Most() int {
	if g.Policy != AntiAffinity {
		return 0
	}
	return int(max(1, g.MaxPerHost))
}

// CreateServerGroup makes a server group. OverQuota past the project's or the user's limit.
type CreateServerGroup struct {
	Group ServerGroup `json:"group"`
}

// DeleteServerGroup removes a server group. Its members stay where they are and are in none.
type DeleteServerGroup struct {
	ID GroupID `json:"id"`
}

// Kind of each op.
func (*CreateServerGroup) Kind() Kind { return KindCreateServerGroup }
func (*DeleteServerGroup) Kind() Kind { return KindDeleteServerGroup }

// Members is where the members of a server group are.
type Members struct {
	At map[NodeID]int // how many each node has, at both ends of a move

	// Home are the nodes on which all members are that are not moving, and Moving tells that others are. Affinity asks a
	// new member to join the home, so that no end of a move parts them.
	Home   []NodeID
	Moving bool
}

// MembersOf gives where the members of a group are, but for one, who asks for itself: it may be "". It costs a look at each
// member.
func (v *View) MembersOf(id GroupID, but InstanceID) Members { return v.t.membersOf(id, but) }

func (t *tables) membersOf(id GroupID, but InstanceID) Members {
	m := Members{At: make(map[NodeID]int)}
	for in := range resolved(&t.members, &t.instances, string(id)+sep) {
		if in.ID == but {
			continue
		}
		at := in.places()
		for _, node := range at {
			m.At[node]++
		}
		switch {
		case len(at) > 1:
			m.Moving = true
		case len(at) == 1 && !slices.Contains(m.Home, at[0]):
			m.Home = append(m.Home, at[0])
		}
	}
	return m
}

// Admit tells whether a node takes another member under a policy, which is a hard one or not looked at.
func (m *Members) Admit(g *ServerGroup, node NodeID) bool {
	switch g.Policy {
	case AntiAffinity:
		return m.At[node] < g.Most()
	case Affinity:
		if len(m.Home) == 0 {
			return !m.Moving
		}
		return slices.Contains(m.Home, node)
	}
	return true
}

// places are the nodes on which an instance is or will be: one, two while it moves, none while it waits.
func (i *Instance) places() []NodeID {
	var at []NodeID
	if i.Node != "" {
		at = append(at, i.Node)
	}
	if other, _ := i.held(); other != "" && other != i.Node {
		at = append(at, other)
	}
	return at
}

// ServerGroup finds a server group by ID.
func (v *View) ServerGroup(id GroupID) (*ServerGroup, bool) { return v.t.groups.Get(id) }

// ServerGroups yields the server groups of a project, oldest first; those of all projects when it is empty.
func (v *View) ServerGroups(p ProjectID) func(yield func(*ServerGroup) bool) {
	return resolved(&v.t.groupsOf, &v.t.groups, string(p)+sep)
}

// GroupMembers yields the instances of a server group, by ID.
func (v *View) GroupMembers(id GroupID) func(yield func(*Instance) bool) {
	return resolved(&v.t.members, &v.t.instances, string(id)+sep)
}

// GroupOf finds the server group of an instance; false when it is in none, or the group was deleted.
func (v *View) GroupOf(in *Instance) (*ServerGroup, bool) {
	if in.Spec.Scheduling.Group == "" {
		return nil, false
	}
	return v.t.groups.Get(in.Spec.Scheduling.Group)
}
