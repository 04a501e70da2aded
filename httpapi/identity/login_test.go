package identity_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/identity"
)

// TestLogin_ManyFailuresAreSlowedDown: somebody guesses a password. After some tries it must wait, whatever it sends, while the
// user's own address and other users are not affected.
func TestLogin_ManyFailuresAreSlowedDown(t *testing.T) {
	a := newAPI(t)
	status := 0
	for range 12 {
		status = a.call("POST", "/v3/auth/tokens", "", loginBody("demo", "guess", "")).StatusCode
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("the twelfth wrong password gave %d", status)
	}
	res := a.call("POST", "/v3/auth/tokens", "", loginBody("demo", password, ""))
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("the right password then gave %d", res.StatusCode)
	}
	a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", loginBody("viewer", password, ""))
	for range 12 {
		status = a.call("POST", "/v3/auth/tokens", "", loginBody("nobody", "guess", "")).StatusCode
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("an unknown user can be told from a known one: %d", status)
	}
}

// TestLogin_AnUnknownUserTakesAsLong: the time of an answer must not say which users there are.
func TestLogin_AnUnknownUserTakesAsLong(t *testing.T) {
	a := newAPI(t)
	hash, err := identity.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	demo, _ := a.Local().User(a.Users["demo"])
	changed := *demo
	changed.PasswordHash = hash
	a.Must(&cluster.PutUser{User: changed})
	took := func(user string) time.Duration {
		best := time.Hour
		for range 4 {
			start := time.Now()
			a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", loginBody(user, "guess", ""))
			best = min(best, time.Since(start))
		}
		return best
	}
	if known, unknown := took("demo"), took("nobody"); unknown < known/4 {
		t.Errorf("a known user takes %v, an unknown one %v", known, unknown)
	}
}

// TestLogin_WhereOneHasNoRoleIsRefused: scopes that exist, for users who have nothing there.
func TestLogin_WhereOneHasNoRoleIsRefused(t *testing.T) {
	a := newAPI(t)
	for _, scope := range []string{
		projectScope("other"), projectScope("admin"), systemScope, `{"domain":{"id":"default"}}`, `{"project":{"id":"00000000000000000000000000000000"}}`,
		`{"project":{"name":"demo","domain":{"name":"elsewhere"}}}`, `{"project":{"name":"demo"}}`,
	} {
		a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", loginBody("demo", password, scope))
	}
}

// TestLogin_DefaultProjectIsTakenWhenNothingIsSaid, unless the user has no role there or asks for no scope.
func TestLogin_DefaultProjectIsTakenWhenNothingIsSaid(t *testing.T) {
	a := newAPI(t)
	patch := func(project cluster.ProjectID) {
		a.want(http.StatusOK, "PATCH", "/v3/users/"+string(a.Users["demo"]), a.admin(), fmt.Sprintf(`{"user":{"default_project_id":%q}}`, project))
	}
	patch(a.Projs["demo"])
	body := a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", loginBody("demo", password, ""))
	if at(t, body, "token/project/id") != string(a.Projs["demo"]) {
		t.Errorf("the token is %v", body)
	}
	body = a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", loginBody("demo", password, `"unscoped"`))
	if at(t, body, "token/project") != nil {
		t.Errorf("the token is %v", body)
	}
	patch(a.Projs["other"])
	body = a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", loginBody("demo", password, ""))
	if at(t, body, "token/project") != nil {
		t.Errorf("the token is %v", body)
	}
}

// TestLogin_BadRequestsAreSaidSo: whatever is sent, there is an answer in Keystone's shape and no token.
func TestLogin_BadRequestsAreSaidSo(t *testing.T) {
	a := newAPI(t)
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"no methods":       {400, `{"auth":{"identity":{}}}`},
		"no identity":      {400, `{"auth":{}}`},
		"method undefined": {400, `{"auth":{"identity":{"methods":["password"]}}}`},
		"unknown method":   {401, `{"auth":{"identity":{"methods":["magic"]}}}`},
		"wrong type":       {400, `{"auth":{"identity":{"methods":"password"}}}`},
		"scope is a word":  {400, loginBody("demo", password, `"somewhere"`)},
		"two scopes":       {400, loginBody("demo", password, `{"system":{"all":true},"project":{"id":"x"}}`)},
		"array":            {400, `[]`},
		"two values":       {400, `{} {}`},
		"deep":             {400, deep},
		"not UTF-8":        {400, "{\"auth\":\"\xff\"}"},
		"empty password":   {401, loginBody("demo", "", "")},
		"NUL in a name":    {401, `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"de\u0000mo","domain":{"id":"default"},"password":"x"}}}}}`},
		"garbage token":    {401, rescopeBody("garbage", projectScope("demo"))},
		"too large":        {413, `{"auth":{"x":"` + strings.Repeat("x", 200_000) + `"}}`},
	} {
		res := a.call("POST", "/v3/auth/tokens", "", c.body)
		if res.StatusCode != c.status || res.Header.Get("X-Subject-Token") != "" {
			t.Errorf("%s: status %d instead of %d", name, res.StatusCode, c.status)
		}
	}
}

// TestLogin_MethodsMustAgree: a token of one user and a password of another do not make a login.
func TestLogin_MethodsMustAgree(t *testing.T) {
	a := newAPI(t)
	const both = `{"auth":{"identity":{"methods":["token","password"],"token":{"id":%q},"password":{"user":{"name":%q,"domain":{"id":"default"},"password":%q}}}}}`
	a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", fmt.Sprintf(both, a.demo(), "viewer", password))
	body := a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", fmt.Sprintf(both, a.demo(), "demo", password))
	if methods := at(t, body, "token/methods").([]any); len(methods) != 2 {
		t.Errorf("methods are %v", methods)
	}
}

// TestPassword_ChangingItNeedsThePresentOne.
func TestPassword_ChangingItNeedsThePresentOne(t *testing.T) {
	a := newAPI(t)
	path := "/v3/users/" + string(a.Users["demo"]) + "/password"
	change := func(old, fresh string) string {
		return fmt.Sprintf(`{"user":{"original_password":%q,"password":%q}}`, old, fresh)
	}
	a.want(http.StatusUnauthorized, "POST", path, a.demo(), change("wrong", "something new"))
	a.want(http.StatusBadRequest, "POST", path, a.demo(), `{"user":{"password":"something new"}}`)
	a.want(http.StatusBadRequest, "POST", path, a.demo(), change(password, ""))
	a.want(http.StatusNoContent, "POST", path, a.demo(), change(password, "something new"))
	a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", loginBody("demo", password, ""))
	a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", loginBody("demo", "something new", ""))
	a.want(http.StatusUnauthorized, "POST", "/v3/users/nobody/password", "", change(password, "something new"))
}

// TestSeed_MakesAnAdministratorWhoCanLogIn: what a new cluster begins with is enough to use it.
func TestSeed_MakesAnAdministratorWhoCanLogIn(t *testing.T) {
	f, err := identity.Seed(password, cluster.At(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Roles) != 3 || f.Admin.Name != "admin" || f.Project.Name != "admin" || strings.Contains(f.Admin.PasswordHash, password) {
		t.Errorf("the founders are %+v", f)
	}
	a := newAPI(t)
	f.Admin.Name = "founder"
	a.Must(&cluster.PutUser{User: f.Admin})
	a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", loginBody("founder", password, ""))
	if _, err := identity.Seed("", 0); cluster.CodeOf(err) != cluster.Invalid {
		t.Errorf("an empty password gave %v", err)
	}
}
