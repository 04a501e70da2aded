package identity_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/identity"
)

func rescopeBody(token, scope string) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["token"],"token":{"id":%q}},"scope":%s}}`, token, scope)
}

// works tells whether a token is good for looking at its own user.
func (a *api) works(token string) bool {
	a.t.Helper()
	switch res := a.call("GET", "/v3/auth/projects", token, ""); res.StatusCode {
	case http.StatusOK:
		return true
	case http.StatusUnauthorized:
		return false
	default:
		a.t.Fatalf("status %d", res.StatusCode)
		return false
	}
}

// TestToken_OfAnotherTokenLivesNoLonger: somebody who has a token for an hour cannot make it last by asking for another one.
func TestToken_OfAnotherTokenLivesNoLonger(t *testing.T) {
	a := newAPI(t)
	parent := a.login("admin", `"unscoped"`)
	time.Sleep(1100 * time.Millisecond) // expiry is in whole seconds
	child := a.tokenFor(rescopeBody(parent, projectScope("admin")))
	expiry := func(token string) any {
		return at(t, a.want(http.StatusOK, "GET", "/v3/auth/tokens", token, "", "X-Subject-Token", token), "token/expires_at")
	}
	if c, p := expiry(child), expiry(parent); c != p {
		t.Errorf("the child expires %s, the parent %s", c, p)
	}
}

// TestToken_RevokingOneTakesItsDescendantsAlong: a token was stolen and others were made from it; revoking it must end them
// all, and leave its siblings alone.
func TestToken_RevokingOneTakesItsDescendantsAlong(t *testing.T) {
	a := newAPI(t)
	root := a.login("admin", `"unscoped"`)
	child := a.tokenFor(rescopeBody(root, projectScope("admin")))
	grandchild := a.tokenFor(rescopeBody(child, systemScope))
	sibling := a.tokenFor(rescopeBody(root, projectScope("admin")))
	a.want(http.StatusNoContent, "DELETE", "/v3/auth/tokens", child, "", "X-Subject-Token", child)
	for name, want := range map[string]bool{root: true, child: false, grandchild: false, sibling: true} {
		if got := a.works(name); got != want {
			t.Errorf("a token works: %v, want %v", got, want)
		}
	}
	a.want(http.StatusNoContent, "DELETE", "/v3/auth/tokens", root, "", "X-Subject-Token", root)
	if a.works(sibling) {
		t.Error("a token outlived the one that it was made from")
	}
}

// TestToken_LongChainStillHangsOnItsFirst: tokens were made from tokens many times over; the first and the nearest ancestors
// still end the last one.
func TestToken_LongChainStillHangsOnItsFirst(t *testing.T) {
	a := newAPI(t)
	first := a.login("admin", `"unscoped"`)
	last := first
	for range 40 {
		last = a.tokenFor(rescopeBody(last, `"unscoped"`))
	}
	if len(last) > 4096 {
		t.Fatalf("the token grew to %d bytes", len(last))
	}
	a.want(http.StatusNoContent, "DELETE", "/v3/auth/tokens", first, "", "X-Subject-Token", first)
	if a.works(last) {
		t.Error("the last token outlived the first")
	}
}

// TestToken_EndsWithWhatItStandsFor: each change takes a token's ground away, and the token must be void at once. The token is
// used before, so that what is remembered of it is proved not to save it.
func TestToken_EndsWithWhatItStandsFor(t *testing.T) {
	for name, change := range map[string]func(a *api){
		"user disabled": func(a *api) {
			a.want(http.StatusOK, "PATCH", "/v3/users/"+string(a.Users["demo"]), a.admin(), `{"user":{"enabled":false}}`)
		},
		"user disabled and enabled again": func(a *api) {
			path := "/v3/users/" + string(a.Users["demo"])
			a.want(http.StatusOK, "PATCH", path, a.admin(), `{"user":{"enabled":false}}`)
			a.want(http.StatusOK, "PATCH", path, a.admin(), `{"user":{"enabled":true}}`)
			if !a.works(a.demo()) {
				a.t.Error("a token got since does not work")
			}
		},
		"user deleted": func(a *api) { a.Must(&cluster.DeleteUser{ID: a.Users["demo"]}) },
		"project disabled": func(a *api) {
			a.want(http.StatusOK, "PATCH", "/v3/projects/"+string(a.Projs["demo"]), a.admin(), `{"project":{"enabled":false}}`)
		},
		"project deleted": func(a *api) { a.Must(&cluster.DeleteProject{ID: a.Projs["demo"]}) },
		"last role taken": func(a *api) {
			a.Must(&cluster.DeleteAssignment{Assignment: cluster.Assignment{User: a.Users["demo"], Project: a.Projs["demo"], Role: a.Roles["member"]}})
		},
		"password changed by admin": func(a *api) {
			a.want(http.StatusOK, "PATCH", "/v3/users/"+string(a.Users["demo"]), a.admin(), `{"user":{"password":"something new"}}`)
		},
		"password changed by user": func(a *api) {
			a.want(http.StatusNoContent, "POST", "/v3/users/"+string(a.Users["demo"])+"/password", "",
				fmt.Sprintf(`{"user":{"original_password":%q,"password":"something new"}}`, password))
		},
		"signing key gone": func(a *api) {
			auth := *a.Local().Authority()
			auth.TokenKeys = []cluster.SigningKey{identity.NewSigningKey(cluster.At(time.Now()))}
			a.Must(&cluster.PutAuthority{Authority: auth})
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			token := a.demo()
			if !a.works(token) {
				t.Fatal("the token does not work to begin with")
			}
			change(a)
			if a.works(token) {
				t.Error("the token still works")
			}
		})
	}
}

// TestToken_SurvivesARotationThatKeepsTheOldKey: a new key signs, and what the old one signed stays good.
func TestToken_SurvivesARotationThatKeepsTheOldKey(t *testing.T) {
	a := newAPI(t)
	old := a.demo()
	auth := *a.Local().Authority()
	fresh := identity.NewSigningKey(cluster.At(time.Now()))
	auth.TokenKeys = append([]cluster.SigningKey{fresh}, auth.TokenKeys...)
	a.Must(&cluster.PutAuthority{Authority: auth})
	if !a.works(old) {
		t.Error("a token signed with the old key is refused")
	}
	if token := a.demo(); !strings.Contains(token, "."+fresh.ID+".") || !a.works(token) {
		t.Error("new tokens are not signed with the new key")
	}
}

// TestToken_GarbageIsRefused: nothing but an untouched token of a key of the cluster gets in.
func TestToken_GarbageIsRefused(t *testing.T) {
	a := newAPI(t)
	good := a.demo()
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(payload), string(a.Users["demo"]), string(a.Users["admin"]), 1)
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	for name, token := range map[string]string{
		"nonsense":           "garbage",
		"fernet":             "gAAAAABgarbage",
		"too long":           strings.Repeat("x", 100_000),
		"no signature":       join(parts[0], parts[1], parts[2], ""),
		"other payload":      join(parts[0], parts[1], base64.RawURLEncoding.EncodeToString([]byte(forged)), parts[3]),
		"other key ID":       join(parts[0], "otherkey", parts[2], parts[3]),
		"flipped signature":  good[:len(good)-5] + string(good[len(good)-5]^1) + good[len(good)-4:],
		"truncated":          good[:len(good)-8],
		"appended":           good + "A",
		"other version":      "kt2" + good[3:],
		"NUL":                good + "\x00",
		"signature of sorts": join(parts[0], parts[1], parts[2], base64.RawURLEncoding.EncodeToString(make([]byte, 64))),
	} {
		if _, err := a.tokens.Verify(a.Local(), token, time.Now()); cluster.CodeOf(err) != cluster.Unauthorized {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if !a.works(good) {
		t.Error("the untouched token does not work")
	}
}

// TestToken_ExpiresAfterItsLifetime: a token is good until its time, and not a moment longer.
func TestToken_ExpiresAfterItsLifetime(t *testing.T) {
	a := newAPI(t)
	token := a.demo()
	if _, err := a.tokens.Verify(a.Local(), token, time.Now().Add(identity.DefaultLifetime-2*time.Second)); err != nil {
		t.Errorf("shortly before: %v", err)
	}
	if _, err := a.tokens.Verify(a.Local(), token, time.Now().Add(identity.DefaultLifetime+time.Second)); cluster.CodeOf(err) != cluster.Unauthorized {
		t.Errorf("after: %v", err)
	}
}

// TestToken_IsGoodAlthoughTheNodesClockIsBehind: the password was set on a node whose clock is ahead. A login on this
// node right after must give a token that works.
func TestToken_IsGoodAlthoughTheNodesClockIsBehind(t *testing.T) {
	a := newAPI(t)
	ahead := cluster.At(time.Now().Add(30 * time.Second))
	u, _ := a.Local().User(a.Users["demo"])
	changed := *u
	changed.PasswordSet = ahead
	if _, err := a.Propose(t.Context(), cluster.Command{Time: ahead, Op: &cluster.PutUser{User: changed}}); err != nil {
		t.Fatal(err)
	}
	if !a.works(a.demo()) {
		t.Error("the new token counts as older than the password")
	}
}

// TestVerify_GivesEffectiveRoles: admin brings member, which brings reader, and a role of one's own stays beside them.
func TestVerify_GivesEffectiveRoles(t *testing.T) {
	a := newAPI(t)
	c, err := a.tokens.Verify(a.Local(), a.admin(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Admin() || !c.Has(cluster.RoleMember) || !c.Has(cluster.RoleReader) || c.System || c.ProjectID() != a.Projs["admin"] {
		t.Errorf("admin is %+v", c)
	}
	if c, err = a.tokens.Verify(a.Local(), a.login("viewer", projectScope("demo")), time.Now()); err != nil {
		t.Fatal(err)
	}
	if c.Has(cluster.RoleMember) || !c.Has(cluster.RoleReader) {
		t.Errorf("viewer is %+v", c)
	}
	if c, err = a.tokens.Verify(a.Local(), a.login("admin", systemScope), time.Now()); err != nil || !c.System || c.Project != nil || !c.Admin() {
		t.Errorf("system admin is %+v, %v", c, err)
	}
}

// TestVerify_ACustomRoleImpliesNothing: names decide nothing that a client can make up.
func TestVerify_ACustomRoleImpliesNothing(t *testing.T) {
	a := newAPI(t)
	role := cluster.Role{ID: "0123456789abcdef0123456789abcdef", Name: "Admin"} // not "admin"
	a.Must(&cluster.PutRole{Role: role})
	a.Must(&cluster.PutAssignment{Assignment: cluster.Assignment{User: a.Users["other"], Project: a.Projs["demo"], Role: role.ID}})
	c, err := a.tokens.Verify(a.Local(), a.login("other", projectScope("demo")), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.Admin() || c.Has(cluster.RoleMember) || c.Has(cluster.RoleReader) || !c.Has("Admin") {
		t.Errorf("other is %+v", c)
	}
}

// BenchmarkVerify is what every request to every service pays.
func BenchmarkVerify(b *testing.B) {
	t := &testing.T{}
	a := newAPI(t)
	token, view, now := a.demo(), a.Local(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.tokens.Verify(view, token, now); err != nil {
			b.Fatal(err)
		}
	}
}
