package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestPutProject_NamesAreUniqueAndRevisionsCount(t *testing.T) {
	w := newTown(t)
	w.do(&PutProject{Project: Project{ID: "p2", Name: "two"}})
	w.refuse(&PutProject{Project: Project{ID: "p3", Name: "two"}}, Conflict, "it is not permitted to have two projects with either the same name")
	w.refuse(&PutProject{Project: Project{ID: "p2", Name: "three"}}, Conflict, "exists already")
	w.refuse(&PutProject{Project: Project{ID: "p9", Name: "nine", Revision: 1}}, NotFound, "p9")
	p, _ := w.s.View().ProjectNamed("two")
	c := *p
	c.Name = "deux"
	w.do(&PutProject{Project: c})
	w.refuse(&PutProject{Project: c}, Stale, "in the meantime")
	if _, ok := w.s.View().ProjectNamed("two"); ok {
		t.Fatal("it is still found under its old name")
	}
	w.do(&PutProject{Project: Project{ID: "p3", Name: "two"}})
	for words, bad := range map[string]Project{
		"ID":   {ID: "a\x00b", Name: "x"},
		"name": {ID: "x"},
		"tags": {ID: "x", Name: "x", Tags: make([]string, 51)},
	} {
		w.refuse(&PutProject{Project: bad}, Invalid, words)
	}
}

// A project that owns anything stays. One that owns nothing goes, with all that speaks of it.
func TestDeleteProject_OnlyWhenItOwnsNothing(t *testing.T) {
	w := newTown(t)
	w.do(&PutProject{Project: Project{ID: "p2", Name: "two"}})
	w.do(&PutNetwork{Network: Network{ID: "net", Project: "p2"}})
	w.refuse(&DeleteProject{ID: "p2"}, Conflict, "1 networks")
	w.do(&DeleteNetwork{ID: "net"})
	w.do(&PutUser{User: User{ID: "u2", Name: "u2"}})
	w.do(&PutAssignment{Assignment: Assignment{User: "u2", Project: "p2", Role: "r-member"}})
	w.do(&PutCredential{Credential: credential("c", "u2", "p2")})
	w.do(&PutQuota{Quota: Quota{Project: "p2", Limits: map[QuotaName]int64{QuotaCores: 1}}})
	w.do(&DeleteProject{ID: "p2"})
	v := w.s.View()
	if _, ok := v.Credential("c"); ok {
		t.Error("its credential stays")
	}
	if _, ok := v.Quota("p2"); ok || v.Limit("p2", QuotaCores) != 20 {
		t.Error("its quota stays")
	}
	for a := range v.AssignmentsOf("u2") {
		t.Errorf("its assignment %+v stays", a)
	}
	w.refuse(&DeleteProject{ID: "p2"}, NotFound, "Could not find project: p2.")
}

func credential(id CredentialID, u UserID, p ProjectID) Credential {
	return Credential{ID: id, Name: string(id), User: u, Project: p, Roles: []RoleID{"r-member"}, SecretHash: Hash{1}}
}

func TestDeleteUser_TakesEverythingOfTheirs(t *testing.T) {
	w := newTown(t)
	w.do(&PutUser{User: User{ID: "u2", Name: "u2"}})
	w.refuse(&PutUser{User: User{ID: "u3", Name: "u2"}}, Conflict, "Duplicate entry found with name u2 at domain ID default.")
	w.do(&PutAssignment{Assignment: Assignment{User: "u2", Project: home, Role: "r-member"}})
	w.do(&PutCredential{Credential: credential("c", "u2", home)})
	w.do(&CreateKeyPair{KeyPair: KeyPair{User: "u2", Name: "k"}, Project: home})
	w.do(&DeleteUser{ID: "u2"})
	v := w.s.View()
	_, credentialStays := v.CredentialNamed("u2", "c")
	_, keyStays := v.KeyPair("u2", "k")
	_, userStays := v.UserNamed("u2")
	if credentialStays || keyStays || userStays {
		t.Fatal("something of the user stays")
	}
	w.refuse(&DeleteUser{ID: "u2"}, NotFound, "Could not find user: u2.")
}

// Whichever way somebody tries, one enabled administrator stays.
func TestIdentity_LastAdministratorStays(t *testing.T) {
	w := newTown(t)
	admin, _ := w.s.View().User(root)
	disabled := *admin
	disabled.Disabled = true
	w.refuse(&DeleteUser{ID: root}, Conflict, "without an administrator")
	w.refuse(&PutUser{User: disabled}, Conflict, "without an administrator")
	w.do(&DeleteAssignment{Assignment: Assignment{User: root, Role: "r-admin"}})
	w.refuse(&DeleteAssignment{Assignment: Assignment{User: root, Project: home, Role: "r-admin"}}, Conflict, "without an administrator")
	w.do(&DeleteImage{ID: disk})
	w.do(&DeleteNetwork{ID: lan})
	w.refuse(&DeleteProject{ID: home}, Conflict, "without an administrator")

	w.do(&PutUser{User: User{ID: "u2", Name: "u2", Disabled: true}})
	w.do(&PutAssignment{Assignment: Assignment{User: "u2", Role: "r-admin"}})
	w.refuse(&DeleteUser{ID: root}, Conflict, "without an administrator") // the other cannot log in
	u2, _ := w.s.View().User("u2")
	enabled := *u2
	enabled.Disabled = false
	w.do(&PutUser{User: enabled})
	w.do(&DeleteUser{ID: root})
	w.refuse(&DeleteUser{ID: "u2"}, Conflict, "without an administrator")
}

func TestRoles_BuiltInOnesStay(t *testing.T) {
	w := newTown(t)
	w.refuse(&DeleteRole{ID: "r-admin"}, Forbidden, "built in")
	r, _ := w.s.View().Role("r-admin")
	c := *r
	c.Name = "root"
	w.refuse(&PutRole{Role: c}, Forbidden, "keeps its name")
	c.Name, c.BuiltIn, c.Description = RoleAdmin, false, "all of it"
	w.do(&PutRole{Role: c})
	if r, _ := w.s.View().Role("r-admin"); !r.BuiltIn {
		t.Fatal("it is not built in any more")
	}
	w.do(&PutRole{Role: Role{ID: "r", Name: "auditor", BuiltIn: true}})
	w.refuse(&PutRole{Role: Role{ID: "r2", Name: "auditor"}}, Conflict, "Duplicate entry found with name auditor.")
	w.do(&PutAssignment{Assignment: Assignment{User: root, Role: "r"}})
	w.do(&DeleteRole{ID: "r"})
	w.refuse(&DeleteAssignment{Assignment: Assignment{User: root, Role: "r"}}, NotFound, "Could not find role assignment")
	w.refuse(&DeleteRole{ID: "r"}, NotFound, "Could not find role: r.")
}

func TestPutAssignment_TwiceIsTheSameAsOnce(t *testing.T) {
	w := newTown(t)
	a := Assignment{User: root, Project: home, Role: "r-member"}
	w.do(&PutAssignment{Assignment: a})
	w.do(&PutAssignment{Assignment: a})
	w.do(&DeleteAssignment{Assignment: a})
	w.refuse(&DeleteAssignment{Assignment: a}, NotFound, "role assignment")
	w.refuse(&PutAssignment{Assignment: Assignment{User: "x", Role: "r-member"}}, NotFound, "user: x")
	w.refuse(&PutAssignment{Assignment: Assignment{User: root, Role: "x"}}, NotFound, "role: x")
	w.refuse(&PutAssignment{Assignment: Assignment{User: root, Project: "x", Role: "r-member"}}, NotFound, "project: x")
}

// An application credential lives on its user's roles in its project. When one is taken away, so is the credential.
func TestPutCredential_LivesAndDiesWithItsAssignments(t *testing.T) {
	w := newTown(t)
	w.do(&PutUser{User: User{ID: "u2", Name: "u2"}})
	w.refuse(&PutCredential{Credential: credential("c", "u2", home)}, Forbidden, "has no role")
	a := Assignment{User: "u2", Project: home, Role: "r-member"}
	w.do(&PutAssignment{Assignment: a})
	w.do(&PutCredential{Credential: credential("c", "u2", home)})
	other := credential("d", "u2", home)
	other.Name = "c"
	w.refuse(&PutCredential{Credential: other}, Conflict, "Duplicate entry found with name c.")
	for words, x := range map[string]struct {
		change func(*Credential)
		code   Code
	}{
		"roles":   {func(c *Credential) { c.Roles = nil }, Invalid},
		"role: x": {func(c *Credential) { c.Roles = []RoleID{"x"} }, NotFound},
		"user: x": {func(c *Credential) { c.User = "x" }, NotFound},
		"project": {func(c *Credential) { c.Project = "x" }, NotFound},
		"hash":    {func(c *Credential) { c.SecretHash = Hash{} }, Invalid},
		"name":    {func(c *Credential) { c.Name = "a\x00b" }, Invalid},
		"exists":  {func(c *Credential) { c.ID = "c" }, Conflict},
	} {
		c := credential("new", "u2", home)
		x.change(&c)
		w.refuse(&PutCredential{Credential: c}, x.code, words)
	}
	w.do(&DeleteAssignment{Assignment: a})
	if _, ok := w.s.View().Credential("c"); ok {
		t.Fatal("it outlives its assignment")
	}
	w.refuse(&DeleteCredential{ID: "c"}, NotFound, "Could not find Application Credential: c.")
	w.do(&PutCredential{Credential: credential("mine", root, home)})
	w.do(&DeleteCredential{ID: "mine"})
}

// A revocation is kept until the token would have expired anyway, and the longest wins.
func TestRevokeToken_IsKeptUntilTheTokenExpires(t *testing.T) {
	w := newTown(t)
	w.do(&RevokeToken{Revocation: Revocation{Token: "a", Expires: w.now.Add(2 * time.Hour)}})
	w.do(&RevokeToken{Revocation: Revocation{Token: "a", Expires: w.now.Add(time.Hour)}})
	w.do(&RevokeToken{Revocation: Revocation{Token: "past", Expires: w.now.Add(-time.Hour)}})
	w.now = w.now.Add(90 * time.Minute)
	w.do(&RevokeToken{Revocation: Revocation{Token: "b", Expires: w.now.Add(2 * time.Hour)}})
	v := w.s.View()
	if !v.Revoked("a") || !v.Revoked("b") || v.Revoked("past") {
		t.Fatal("revoked are not a and b")
	}
	w.now = w.now.Add(time.Hour)
	w.do(&RevokeToken{Revocation: Revocation{Token: "c", Expires: w.now.Add(time.Hour)}})
	if w.s.View().Revoked("a") {
		t.Fatal("a is remembered for too long")
	}
	w.refuse(&RevokeToken{Revocation: Revocation{Token: "a b"}}, Invalid, "Token ID")
}

func TestChecks_TakeWhatIsSaneAndRefuseTheRest(t *testing.T) {
	for _, s := range []string{"a", "ä\u4e16", strings.Repeat("ä", 255), "<xml>&\"'", "../x"} {
		if err := checkName("name", s); err != nil {
			t.Errorf("name %q: %v", s, err)
		}
	}
	for _, s := range []string{"", "\x00", "a\nb", "\x7f", "\u0085", "\xff", strings.Repeat("ä", 256)} {
		if err := checkName("name", s); err == nil {
			t.Errorf("name %q is taken", s)
		}
	}
	for _, s := range []string{"", ".", "..", ".x", "a/b", "a b", "ä", "\x00", strings.Repeat("x", 65)} {
		if err := checkID("noun", s); err == nil {
			t.Errorf("ID %q is taken", s)
		}
	}
	if got := clip("a\x00b\xff\n"+strings.Repeat("x", 300), 10); got != "a b\ufffd\nxxxxx" {
		t.Errorf("clipped to %q", got)
	}
}
