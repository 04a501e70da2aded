package cluster

import (
	"strings"

	"github.com/tidwall/btree"
)

// groupTables is server groups, and who is in them.
type groupTables struct {
	groups   btree.Map[GroupID, *ServerGroup]
	groupsOf btree.Map[string, GroupID]    // project, number; and the same under "" for all projects
	members  btree.Map[string, InstanceID] // group, instance
	placed   btree.Map[string, InstanceID] // group, node, instance: twice for one that moves
}

func (c *groupTables) share(t *groupTables) {
	c.groups = *t.groups.Copy()
	c.groupsOf = *t.groupsOf.Copy()
	c.members = *t.members.Copy()
	c.placed = *t.placed.Copy()
}

func (s *State) applyGroupOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *CreateServerGroup:
		ids, refusal = s.createServerGroup(o)
	case *DeleteServerGroup:
		ids, refusal = s.deleteServerGroup(o)
	case *PutAggregate:
		ids, refusal = s.saveAggregate(o)
	case *DeleteAggregate:
		ids, refusal = s.deleteAggregate(o)
	case *PutQuotaClass:
		ids, refusal = s.saveQuotaClass(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) createServerGroup(o *CreateServerGroup) ([]string, *Error) {
	g := o.Group
	if err := firstOf(
		checkID("Server group", g.ID),
		checkName("The server group's name", g.Name),
		checkID("User", g.User),
		oneOf("Policy", g.Policy, Affinity, AntiAffinity, SoftAffinity, SoftAntiAffinity),
		checkAmount("max_server_per_host", g.MaxPerHost, 0, maxAmount),
		s.checkProjectIs(g.Project),
	); err != nil {
		return nil, err
	}
	if g.MaxPerHost != 0 && g.Policy != AntiAffinity {
		return nil, Errorf(Invalid, "Only anti-affinity policy supports rules.")
	}
	if _, ok := s.t.groups.Get(g.ID); ok {
		return nil, Errorf(Conflict, "Server group %s exists already", g.ID)
	}
	all, own := s.t.countGroups(g.Project, g.User)
	if s.exceeds(g.Project, QuotaServerGroups, all, 1) || s.exceedsUser(g.Project, g.User, QuotaServerGroups, own, 1) {
		return nil, Errorf(OverQuota, "Quota exceeded, too many server groups.")
	}
	s.t.meta.GroupCount++
	g.Number, g.Revision, g.Created = s.t.meta.GroupCount, s.t.meta.Index, s.t.meta.Time
	s.putGroup(&g)
	return []string{string(g.ID)}, nil
}

func (s *State) deleteServerGroup(o *DeleteServerGroup) ([]string, *Error) {
	g, ok := s.t.groups.Get(o.ID)
	if !ok {
		return nil, missing("Instance group", string(o.ID))
	}
	s.t.groups.Delete(g.ID)
	s.t.groupsOf.Delete(groupKey(g.Project, g))
	s.t.groupsOf.Delete(groupKey("", g))
	return []string{string(g.ID)}, nil
}

func groupKey(p ProjectID, g *ServerGroup) string { return key(string(p), sortable(uint64(g.Number))) }

func (s *State) putGroup(g *ServerGroup) {
	s.t.groups.Set(g.ID, g)
	s.t.groupsOf.Set(groupKey(g.Project, g), g.ID)
	s.t.groupsOf.Set(groupKey("", g), g.ID)
}

// countGroups tells how many server groups a project has, and how many of them a user made.
func (t *tables) countGroups(p ProjectID, u UserID) (all, own int64) {
	for g := range resolved(&t.groupsOf, &t.groups, string(p)+sep) {
		all++
		if g.User == u {
			own++
		}
	}
	return all, own
}

// ServerGroupCount tells how many server groups a project has, and how many of them a user made.
func (v *View) ServerGroupCount(p ProjectID, u UserID) (all, own int64) { return v.t.countGroups(p, u) }

// enlist keeps the members of groups in line with an instance that is stored (old is what was there; nil: nothing), or
// dropped (in is nil). An instance never changes its group.
func (s *State) enlist(old, in *Instance) {
	if in != nil && old == nil && in.Spec.Scheduling.Group != "" {
		s.t.members.Set(memberKey(in, ""), in.ID)
	}
	if in == nil && old.Spec.Scheduling.Group != "" {
		s.t.members.Delete(memberKey(old, ""))
	}
	if old != nil && old.Spec.Scheduling.Group != "" {
		for _, node := range old.places() {
			s.t.placed.Delete(memberKey(old, node))
		}
	}
	if in != nil && in.Spec.Scheduling.Group != "" {
		for _, node := range in.places() {
			s.t.placed.Set(memberKey(in, node), in.ID)
		}
	}
}

// memberKey finds a member among its group's, or among those on a node.
func memberKey(in *Instance, node NodeID) string {
	if node == "" {
		return key(string(in.Spec.Scheduling.Group), string(in.ID))
	}
	return key(string(in.Spec.Scheduling.Group), string(node), string(in.ID))
}

// checkGroup refuses new instances in a group that is not there, is another project's, or has no room for so many.
func (s *State) checkGroup(o *CreateInstances) *Error {
	id := o.Spec.Scheduling.Group
	if id == "" {
		return nil
	}
	g, ok := s.t.groups.Get(id)
	if !ok || g.Project != o.Project {
		return Errorf(Invalid, "Instance group %.64s could not be found.", id)
	}
	var own int64
	for in := range resolved(&s.t.members, &s.t.instances, string(id)+sep) {
		if in.User == o.User {
			own++
		}
	}
	more := int64(len(o.Items))
	if s.exceeds(o.Project, QuotaServerGroupMembers, own, more) ||
		s.exceedsUser(o.Project, o.User, QuotaServerGroupMembers, own, more) {
		return Errorf(OverQuota, "Quota exceeded, too many servers in group")
	}
	return nil
}

// groupAdmits tells why the hard policy of an instance's group does not let it onto a node; nil: it does. It is asked
// again whenever an instance is given a node, so nothing that was decided on old news can break the policy.
func (s *State) groupAdmits(in *Instance, node NodeID) *Error {
	id := in.Spec.Scheduling.Group
	if id == "" {
		return nil
	}
	g, ok := s.t.groups.Get(id)
	if !ok {
		return nil
	}
	if !s.t.admits(g, in.ID, node) {
		return Errorf(NoRoom, "The policy %s of server group %s does not let instance %s onto this node", g.Policy, g.ID, in.ID)
	}
	return nil
}

// admits is Members.Admit without a look at every member.
func (t *tables) admits(g *ServerGroup, but InstanceID, node NodeID) bool {
	prefix := string(g.ID) + sep
	switch g.Policy {
	case AntiAffinity:
		n := 0
		for id := range prefixed(&t.placed, prefix+string(node)+sep) {
			if id != but {
				n++
			}
			if n >= g.Most() {
				return false
			}
		}
	case Affinity:
		first, last := "", ""
		find := func(into *string) func(string, InstanceID) bool {
			return func(k string, id InstanceID) bool {
				if strings.HasPrefix(k, prefix) && id != but {
					*into = nodeOfMember(k)
				}
				return strings.HasPrefix(k, prefix) && id == but
			}
		}
		t.placed.Ascend(prefix, find(&first))
		t.placed.Descend(prefix+"\xff", find(&last))
		if first == last {
			return first == "" || first == string(node)
		}
		m := t.membersOf(g.ID, but)
		return m.Admit(g, node)
	}
	return true
}

// nodeOfMember reads the node out of a key of placed.
func nodeOfMember(k string) string {
	_, k, _ = strings.Cut(k, sep)
	node, _, _ := strings.Cut(k, sep)
	return node
}

// dropGroups removes the server groups of a project that is removed.
func (s *State) dropGroups(p ProjectID) {
	var all []GroupID
	for g := range resolved(&s.t.groupsOf, &s.t.groups, string(p)+sep) {
		all = append(all, g.ID)
	}
	for _, id := range all {
		_, _ = s.deleteServerGroup(&DeleteServerGroup{ID: id}) // it is there
	}
}

// groups checks that groups, aggregates and what they name agree.
func (c *verifier) groups() {
	t := &c.v.t
	for g := range c.v.ServerGroups("") {
		if _, ok := t.projects.Get(g.Project); !ok {
			c.fail("server group %s is of project %s, which is not there", g.ID, g.Project)
		}
	}
	if n := 2 * t.groups.Len(); n != t.groupsOf.Len() {
		c.fail("server groups have the same numbers: %d entries should be %d", t.groupsOf.Len(), n)
	}
	for a := range c.v.Aggregates() {
		for _, id := range a.Hosts {
			if _, ok := t.nodes.Get(id); !ok {
				c.fail("aggregate %d has host %s, which is not there", a.Number, id)
			}
			if other := t.otherZone(a, id); a.Zone() != "" && other != "" && other != a.Zone() {
				c.fail("host %s is in the zones %s and %s", id, a.Zone(), other)
			}
		}
	}
}
