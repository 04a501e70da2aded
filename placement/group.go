package placement

import (
	"fmt"
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

// groupClaims is where members of server groups were decided to go, as far as no view says so yet. Without it a burst of
// requests, or several at once, would be decided as if each were the only one.
type groupClaims struct {
	at      map[cluster.InstanceID]groupNode
	members map[cluster.GroupID]map[cluster.NodeID]int
}

type groupNode struct {
	group cluster.GroupID
	node  cluster.NodeID
}

// join adds a member on a node.
func (g *groupClaims) join(id cluster.InstanceID, group cluster.GroupID, node cluster.NodeID) {
	g.leave(id)
	if g.at == nil {
		g.at = make(map[cluster.InstanceID]groupNode)
		g.members = make(map[cluster.GroupID]map[cluster.NodeID]int)
	}
	g.at[id] = groupNode{group, node}
	if g.members[group] == nil {
		g.members[group] = make(map[cluster.NodeID]int)
	}
	g.members[group][node]++
}

// leave takes a member back. One that never joined is left alone.
func (g *groupClaims) leave(id cluster.InstanceID) {
	c, ok := g.at[id]
	if !ok {
		return
	}
	delete(g.at, id)
	of := g.members[c.group]
	if of[c.node]--; of[c.node] == 0 {
		delete(of, c.node)
	}
	if len(of) == 0 {
		delete(g.members, c.group)
	}
}

// follow forgets the members that a view has on their node: whoever looks at it counts them there.
func (g *groupClaims) follow(v *cluster.View) {
	for id, c := range g.at {
		in, ok := v.Instance(id)
		if ok && (in.Node == c.node || in.Op != nil && in.Op.Move != nil && in.Op.Move.To == c.node) {
			g.leave(id)
		}
	}
}

// grouping is the server group of a request, and where its members are in the view that the request was made from.
type grouping struct {
	of      *cluster.ServerGroup
	members cluster.Members
}

func groupingOf(v *cluster.View, in *cluster.Instance) *grouping {
	g, ok := v.GroupOf(in)
	if !ok {
		return nil
	}
	return &grouping{of: g, members: v.MembersOf(g.ID, in.ID)}
}

// count is how many members a node has, those included that were only decided.
func (g *grouping) count(claims *groupClaims, node cluster.NodeID) int {
	return g.members.At[node] + claims.members[g.of.ID][node]
}

// admits tells whether the policy lets another member onto a node. The soft ones always do.
func (g *grouping) admits(claims *groupClaims, node cluster.NodeID) bool {
	switch g.of.Policy {
	case cluster.AntiAffinity:
		return g.count(claims, node) < g.of.Most()
	case cluster.Affinity:
		if decided := claims.members[g.of.ID]; len(g.members.Home) == 0 && len(decided) > 0 {
			return decided[node] > 0 && !g.members.Moving
		}
		return g.members.Admit(g.of, node)
	}
	return true
}

// settled tells whether affinity leaves no choice any more.
func (g *grouping) settled(claims *groupClaims) bool {
	return g.of.Policy == cluster.Affinity &&
		(len(g.members.Home) > 0 || g.members.Moving || len(claims.members[g.of.ID]) > 0)
}

// nodes are those that have members, in a fixed order.
func (g *grouping) nodes(claims *groupClaims) []cluster.NodeID {
	var all []cluster.NodeID
	for id := range g.members.At {
		all = append(all, id)
	}
	for id := range claims.members[g.of.ID] {
		if g.members.At[id] == 0 {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

func whyGroup(r *Request, s subject) string {
	if r.wishes == nil || r.wishes.group == nil || r.wishes.group.admits(s.claims, s.node.ID) {
		return ""
	}
	g := r.wishes.group
	switch n := g.count(s.claims, s.node.ID); {
	case g.of.Policy == cluster.AntiAffinity && n == 1:
		return "has a member of the server group"
	case g.of.Policy == cluster.AntiAffinity:
		return fmt.Sprintf("has %d members of the server group", n)
	}
	return "is not where the server group is"
}

// softly chooses for a request whose group has a soft policy: where most members are for affinity; where there is none, or
// else where there are fewest, against it.
func (s *search) softly(g *grouping) {
	with := g.nodes(&s.x.groups)
	if g.of.Policy == cluster.SoftAffinity {
		if s.among(with, func(id cluster.NodeID) int { return g.count(&s.x.groups, id) }); s.best == none {
			s.anywhere()
		}
		return
	}
	s.shun = g
	s.anywhere()
	s.shun = nil
	if s.best == none {
		s.among(with, func(id cluster.NodeID) int { return -g.count(&s.x.groups, id) })
	}
}

// among looks at the given nodes only: the highest rank wins, and among equals the best score. A nil rank makes all equal.
func (s *search) among(nodes []cluster.NodeID, rank func(cluster.NodeID) int) {
	highest := 0
	for _, id := range nodes {
		slot, ok := s.x.ids[id]
		if !ok || s.x.links[slot].bucket < 0 || !s.match.passes(s.x.hosts[slot].class) || !s.admits(slot) {
			continue
		}
		at := 0
		if rank != nil {
			at = rank(id)
		}
		score := s.x.rooms[slot].score
		if s.best == none || at > highest || at == highest && score > s.score {
			s.best, s.score, highest = slot, score, at
		}
	}
	s.ranked = rank != nil && s.best != none
}

// claimFor takes room on a node for a request, and its place in its server group.
func (x *Index) claimFor(slot int32, r *Request) {
	if w := r.wishes; w != nil && w.group != nil && r.Instance != "" {
		x.groups.join(r.Instance, w.group.of.ID, x.hosts[slot].node.ID)
	}
	x.claim(slot, r.Resources)
}

// ReleaseRequest gives back what ChooseMany claimed for a request. False: no such node, so its claims are gone with it.
func (x *Index) ReleaseRequest(id cluster.NodeID, r *Request) bool {
	x.groups.leave(r.Instance)
	return x.Release(id, r.Resources)
}

// gather finds a node with room for all that the burst wants of an affinity group which is nowhere yet, so that the first
// one does not go where the others cannot follow. rs begins with the request in question.
func (x *Index) gather(rs []Request) (Choice, bool) {
	r := &rs[0]
	if r.wishes == nil || r.wishes.group == nil || r.wishes.group.of.Policy != cluster.Affinity || r.wishes.group.settled(&x.groups) {
		return Choice{slot: none}, false
	}
	all := *r
	for i := 1; i < len(rs); i++ {
		if rs[i].wishes == r.wishes {
			all.Resources = all.Resources.Add(rs[i].Resources)
		}
	}
	return x.Choose(&all)
}
