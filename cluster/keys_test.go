package cluster

import (
	"slices"
	"testing"
	"time"
)

// locksmith is a town with three nodes.
func locksmith(t testing.TB) *town {
	w := newTown(t)
	a := *w.s.View().Authority()
	a.GossipKeys, a.CACert, a.CAKey = [][]byte{[]byte("old")}, []byte("old cert"), []byte("old key")
	w.do(&PutAuthority{Authority: a})
	w.enrol("n2", "192.0.2.2")
	w.enrol("n3", "192.0.2.3")
	return w
}

// step gives the present step of a rotation, which has to be the expected one.
func (w *town) step(k Keyset, want KeyStep) *Rotation {
	w.t.Helper()
	r, ok := w.s.View().Rotation(k)
	if !ok || r.Step != want {
		w.t.Fatalf("the rotation of %s is %+v, want step %s", k, r, want)
	}
	return r
}

func (w *town) confirm(k Keyset, nodes ...NodeID) {
	w.t.Helper()
	r, _ := w.s.View().Rotation(k)
	for _, n := range nodes {
		w.do(&ConfirmKeys{Keys: k, Since: r.Since, Node: n})
	}
}

func (w *town) gossipKeys() (keys []string) {
	for _, k := range w.s.View().Authority().GossipKeys {
		keys = append(keys, string(k))
	}
	return keys
}

// The gossip key is rotated while everybody is there. No step is taken before the last node has confirmed the one before, so that at no time one
// node uses a key that another does not take.
func TestRotation_OfTheGossipKeyTakesEachStepTogether(t *testing.T) {
	w := locksmith(t)
	w.do(&BeginRotation{Keys: KeysGossip, GossipKey: []byte("new")})
	w.refuse(&BeginRotation{Keys: KeysGossip, GossipKey: []byte("newer")}, Conflict, "under way")
	added := w.step(KeysGossip, KeysAdded)
	for _, c := range []struct {
		last NodeID
		keys []string
	}{{"n3", []string{"old", "new"}}, {"n2", []string{"new", "old"}}} {
		others := []NodeID{first, "n2", "n3"}
		others = slices.DeleteFunc(others, func(n NodeID) bool { return n == c.last })
		w.confirm(KeysGossip, others...)
		w.confirm(KeysGossip, others...) // said twice
		if got := w.gossipKeys(); !slices.Equal(got, c.keys) {
			t.Fatalf("before %s has confirmed: %q", c.last, got)
		}
		w.confirm(KeysGossip, c.last)
	}
	r := w.step(KeysGossip, KeysDone)
	if got := w.gossipKeys(); !slices.Equal(got, []string{"new"}) || r.Ended == 0 {
		t.Errorf("in the end: %q, %+v", got, r)
	}
	w.refuse(&ConfirmKeys{Keys: KeysGossip, Since: added.Since, Node: first}, Stale, "went on")
	w.do(&BeginRotation{Keys: KeysGossip, GossipKey: []byte("newest")})
}

// A node is away. The rotation waits for it, until an operator would not, or removes it.
func TestRotation_WaitsForTheAbsent(t *testing.T) {
	w := locksmith(t)
	w.do(&BeginRotation{Keys: KeysGossip, GossipKey: []byte("new")})
	w.confirm(KeysGossip, first, "n2")
	r := w.step(KeysGossip, KeysAdded)
	w.refuse(&AdvanceRotation{Keys: KeysGossip, Since: r.Since}, Conflict, "waits for host-n3")
	w.do(&AdvanceRotation{Keys: KeysGossip, Since: r.Since, Force: true})
	w.refuse(&AdvanceRotation{Keys: KeysGossip, Since: r.Since, Force: true}, Stale, "went on")
	w.step(KeysGossip, KeysUsed)
	w.confirm(KeysGossip, first, "n2")
	w.step(KeysGossip, KeysDone) // who was given up once is not waited for again

	w.do(&BeginRotation{Keys: KeysGossip, GossipKey: []byte("newer")})
	w.confirm(KeysGossip, first, "n2")
	w.do(&RemoveNode{ID: "n3"})
	w.step(KeysGossip, KeysUsed)
}

// A node that is enrolled in the middle of a step has to confirm it like the others.
func TestRotation_WaitsForWhoJoins(t *testing.T) {
	w := locksmith(t)
	w.do(&BeginRotation{Keys: KeysGossip, GossipKey: []byte("new")})
	w.confirm(KeysGossip, first, "n2")
	w.enrol("n4", "192.0.2.4")
	w.confirm(KeysGossip, "n3")
	w.step(KeysGossip, KeysAdded)
	w.confirm(KeysGossip, "n4")
	w.step(KeysGossip, KeysUsed)
}

// The authority is rotated: both are trusted, then the new one signs, and the old one goes when every node has a new certificate, and not before
// its time. Nobody is forced out of the cluster on the way.
func TestRotation_OfTheAuthorityKeepsTheOldOneForAsLongAsAsked(t *testing.T) {
	w := locksmith(t)
	next := &AuthorityPair{Cert: []byte("new cert"), Key: []byte("new key")}
	w.do(&BeginRotation{Keys: KeysAuthority, Authority: next, Keep: time.Hour})
	r := w.step(KeysAuthority, KeysAdded)
	if a := w.s.View().Authority(); string(a.CACert) != "old cert" || len(a.Authorities()) != 2 {
		t.Errorf("added: %+v", a)
	}
	w.refuse(&AdvanceRotation{Keys: KeysAuthority, Since: r.Since, Force: true}, Conflict, "never be let in")
	w.confirm(KeysAuthority, first, "n2", "n3")
	r = w.step(KeysAuthority, KeysUsed)
	if a := w.s.View().Authority(); string(a.CACert) != "new cert" || string(a.CAKey) != "new key" || string(a.Other.Cert) != "old cert" {
		t.Errorf("used: %+v", a)
	}
	w.confirm(KeysAuthority, first, "n2", "n3")
	w.step(KeysAuthority, KeysUsed)
	if w.s.View().RotationDue(r, w.now) {
		t.Error("it is due before its time")
	}
	w.refuse(&AdvanceRotation{Keys: KeysAuthority, Since: r.Since}, Conflict, "is kept until 2026-01-02 04:")
	w.now = w.now.Add(2 * time.Hour)
	w.do(&AdvanceRotation{Keys: KeysAuthority, Since: r.Since})
	w.step(KeysAuthority, KeysDone)
	if a := w.s.View().Authority(); string(a.CACert) != "new cert" || a.Other != nil || len(a.Authorities()) != 1 {
		t.Errorf("done: %+v", a)
	}
}

// A machine was signed for by an authority that is gone when its enrolment is applied. Nobody would let it in.
func TestEnrolNode_NotSignedForByAFormerAuthority(t *testing.T) {
	w := locksmith(t)
	before := w.s.View().Authority().Revision
	w.do(&PutJoinToken{Token: JoinToken{ID: "t", Hash: Hash{9}, Uses: 1, Expires: w.now.Add(time.Hour)}})
	w.do(&BeginRotation{Keys: KeysAuthority, Authority: &AuthorityPair{Cert: []byte("c"), Key: []byte("k")}})
	o := &EnrolNode{Token: "t", Secret: Hash{9}, Node: someNode("n4", "192.0.2.4"), Authority: before}
	w.refuse(o, Stale, "in the meantime")
	o.Authority = w.s.View().Authority().Revision
	w.do(o)
}

// What makes no sense is refused whatever path it takes.
func TestRotation_RefusesNonsense(t *testing.T) {
	w := locksmith(t)
	pair := &AuthorityPair{Cert: []byte("c"), Key: []byte("k")}
	for words, o := range map[string]*BeginRotation{
		"no keys called":    {Keys: "house", GossipKey: []byte("k")},
		"key is missing":    {Keys: KeysGossip},
		"missing or too":    {Keys: KeysGossip, GossipKey: []byte("k"), Authority: pair},
		"is the old one":    {Keys: KeysGossip, GossipKey: []byte("old")},
		"authority is miss": {Keys: KeysAuthority},
		"or too long":       {Keys: KeysAuthority, Authority: &AuthorityPair{Cert: make([]byte, maxKeyBytes), Key: []byte("k")}},
		"at most":           {Keys: KeysAuthority, Authority: pair, Keep: MaxKeep + 1},
		"not -1":            {Keys: KeysAuthority, Authority: pair, Keep: -1},
	} {
		w.refuse(o, Invalid, words)
	}
	w.refuse(&ConfirmKeys{Keys: KeysGossip, Since: 1, Node: first}, NotFound, "never rotated")
	w.refuse(&ConfirmKeys{Keys: KeysGossip, Since: 1, Node: "none"}, NotFound, "none")
	(&town{t: t, s: NewState()}).refuse(&BeginRotation{Keys: KeysGossip}, NotFound, "no cluster")
}
