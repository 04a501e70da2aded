package cluster

import (
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"
)

func ids[T any](all iter.Seq[T], id func(T) string) string {
	out := ""
	for x := range all {
		out += id(x) + " "
	}
	return out
}

// Every listing gives what is there, in the order that it promises, and stops when the reader does.
func TestView_ListsWhatIsThere(t *testing.T) {
	w := busyTown(t)
	v := w.s.View()
	for _, x := range []struct{ what, got, want string }{
		{"nodes", ids(v.Nodes(), func(n *Node) string { return string(n.ID) }), "n1 n2 "},
		{"tokens", ids(v.JoinTokens(), func(j *JoinToken) string { return string(j.ID) }), "t-n2 t-n3 "},
		{"projects", ids(v.Projects(), func(p *Project) string { return p.Name }), "admin two "},
		{"users", ids(v.Users(), func(u *User) string { return u.Name }), "admin two "},
		{"roles", ids(v.Roles(), func(r *Role) string { return r.Name }), "admin member reader "},
		{"assignments", ids(v.Assignments(), func(a Assignment) string { return string(a.User) }), "root root u2 "},
		{"credentials", ids(v.CredentialsOf("u2"), func(c *Credential) string { return c.Name }), "cred "},
		{"images", ids(v.Images(), func(i *Image) string { return i.Name }), "debian "},
		{"flavors", ids(v.Flavors(), func(f *Flavor) string { return f.Name }), "small "},
		{"key pairs", ids(v.KeyPairsOf("u2"), func(k *KeyPair) string { return k.Name }), "k "},
		{"networks", ids(v.Networks(), func(n *Network) string { return n.Name }), "lan "},
		{"subnets", ids(v.SubnetsOf(lan), func(n *Subnet) string { return string(n.ID) }), "lan4 "},
		{"ports", ids(v.PortsOf(lan), func(p *Port) string { return string(p.ID) }), "port-a port-b port-c "},
		{"ports of a", ids(v.PortsOfDevice("a"), func(p *Port) string { return string(p.ID) }), "port-a "},
		{"instances", ids(v.Instances(), func(i *Instance) string { return string(i.ID) }), "a b c "},
		{"on n1", ids(v.InstancesOn(first), func(i *Instance) string { return string(i.ID) }), "a "},
		{"on none", ids(v.InstancesOn(""), func(i *Instance) string { return string(i.ID) }), "b "},
		{"deleted", ids(v.Deleted(), func(i *Instance) string { return string(i.ID) }), "d "},
	} {
		if x.got != x.want {
			t.Errorf("%s: %q, want %q", x.what, x.got, x.want)
		}
	}
	for range v.Nodes() {
		break
	}
	for range v.InstancesOf("", nil) {
		break
	}
	if f, ok := v.FlavorNamed("small"); !ok || f.Clone().ID != "1" {
		t.Error("the flavor is not found by name")
	}
	if p, ok := v.Project("p2"); !ok || p.Name != "two" {
		t.Error("the project is not found")
	}
}

// What a node does to a state later is not seen in a view, also where the view is the only one who looks.
func TestView_NeverChanges(t *testing.T) {
	w := busyTown(t)
	v, hash := w.s.View(), w.s.View().Hash()
	w.do(&RemoveNode{ID: "n2", Force: true})
	w.do(&DeleteInstance{ID: "a"})
	if v.Hash() != hash {
		t.Fatal("the view changed")
	}
	if w.s.View().Hash() == hash {
		t.Fatal("the state did not")
	}
}

func TestTime_ConvertsThereAndBack(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if got := At(now).Std(); !got.Equal(now) {
		t.Errorf("got %v", got)
	}
	if At(time.Time{}) != 0 || !Time(0).Std().IsZero() {
		t.Error("never is not never")
	}
}

func TestCodeOf_FindsTheCodeInsideAnError(t *testing.T) {
	err := fmt.Errorf("place: %w", Errorf(NoRoom, "node %s is full", "n1"))
	if CodeOf(err) != NoRoom || err.Error() != "place: node n1 is full" {
		t.Errorf("got %s, %v", CodeOf(err), err)
	}
	if CodeOf(errors.New("x")) != Internal {
		t.Error("an error without a code is not internal")
	}
	if (Hash{0xab}).String()[:4] != "ab00" {
		t.Error("a digest is not written in hexadecimal")
	}
}
