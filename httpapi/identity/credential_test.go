package identity_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

func (a *api) credentialPath(user string) string {
	return "/v3/users/" + string(a.Users[user]) + "/application_credentials"
}

// credential makes an application credential and gives its ID and the body that logs in with it.
func (a *api) credential(user, token, fields string) (id, login string) {
	a.t.Helper()
	body := a.want(http.StatusCreated, "POST", a.credentialPath(user), token, `{"application_credential":{`+fields+`}}`)
	id = at(a.t, body, "application_credential/id").(string)
	return id, fmt.Sprintf(`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":%q,"secret":%q}}}}`,
		id, at(a.t, body, "application_credential/secret"))
}

// TestCredential_NeverGivesMoreThanItsRoles: an administrator hands out a reader's credential. Its tokens read, in that
// project, and cannot be turned into anything more.
func TestCredential_NeverGivesMoreThanItsRoles(t *testing.T) {
	a := newAPI(t)
	_, login := a.credential("admin", a.admin(), `"name":"ro","roles":[{"name":"reader"}]`)
	token := a.tokenFor(login)
	c, err := a.tokens.Verify(a.Local(), token, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.Admin() || c.Has(cluster.RoleMember) || !c.Has(cluster.RoleReader) || c.ProjectID() != a.Projs["admin"] {
		t.Errorf("the caller is %+v", c)
	}
	a.want(http.StatusForbidden, "GET", "/v3/users", token, "")
	for _, scope := range []string{systemScope, projectScope("demo"), `"unscoped"`} {
		a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", rescopeBody(token, scope))
		a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", strings.TrimSuffix(login, "}}")+`,"scope":`+scope+`}}`)
	}
	again := a.tokenFor(rescopeBody(token, projectScope("admin")))
	if c, err := a.tokens.Verify(a.Local(), again, time.Now()); err != nil || c.Has(cluster.RoleMember) {
		t.Errorf("a token made from the credential's is %+v, %v", c, err)
	}
}

// TestCredential_EndsWithItsUsersRole: the user loses the role that the credential holds a part of.
func TestCredential_EndsWithItsUsersRole(t *testing.T) {
	a := newAPI(t)
	_, login := a.credential("demo", a.demo(), `"name":"c"`)
	token := a.tokenFor(login)
	a.Must(&cluster.DeleteAssignment{Assignment: cluster.Assignment{User: a.Users["demo"], Project: a.Projs["demo"], Role: a.Roles["member"]}})
	if a.works(token) {
		t.Error("the token still works")
	}
	a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", login)
}

// TestCredential_DeletedOrExpiredIsVoid, and its tokens with it.
func TestCredential_DeletedOrExpiredIsVoid(t *testing.T) {
	a := newAPI(t)
	id, login := a.credential("demo", a.demo(), `"name":"gone"`)
	token := a.tokenFor(login)
	a.want(http.StatusNoContent, "DELETE", a.credentialPath("demo")+"/"+id, a.demo(), "")
	if a.works(token) {
		t.Error("a token outlived its credential")
	}
	a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", login)

	soon := time.Now().Add(5 * time.Minute)
	_, login = a.credential("demo", a.demo(), fmt.Sprintf(`"name":"short","expires_at":%q`, soon.UTC().Format("2006-01-02T15:04:05.000000")))
	token = a.tokenFor(login)
	if _, err := a.tokens.Verify(a.Local(), token, soon.Add(-time.Second)); err != nil {
		t.Errorf("before its time: %v", err)
	}
	if _, err := a.tokens.Verify(a.Local(), token, soon.Add(time.Second)); cluster.CodeOf(err) != cluster.Unauthorized {
		t.Errorf("after its time: %v", err)
	}
}

// TestCredential_RestrictedOneMakesNoOthers: unless it was made unrestricted, a credential cannot make or remove credentials.
func TestCredential_RestrictedOneMakesNoOthers(t *testing.T) {
	a := newAPI(t)
	id, login := a.credential("demo", a.demo(), `"name":"tight"`)
	tight := a.tokenFor(login)
	a.want(http.StatusForbidden, "POST", a.credentialPath("demo"), tight, `{"application_credential":{"name":"more"}}`)
	a.want(http.StatusForbidden, "DELETE", a.credentialPath("demo")+"/"+id, tight, "")
	_, login = a.credential("demo", a.demo(), `"name":"loose","unrestricted":true`)
	a.credential("demo", a.tokenFor(login), `"name":"more"`)
}

// TestCredential_BadRequestsAreSaidSo.
func TestCredential_BadRequestsAreSaidSo(t *testing.T) {
	a := newAPI(t)
	demo := a.demo()
	for fields, status := range map[string]int{
		`"description":"no name"`:                                 400,
		`"name":""`:                                               400,
		`"name":"x\u0000y"`:                                       400,
		`"name":"x","roles":[{"name":"admin"}]`:                   400,
		`"name":"x","expires_at":"yesterday"`:                     400,
		`"name":"x","expires_at":"2001-01-01T00:00:00"`:           400,
		`"name":"x","secret":"short"`:                             400,
		`"name":"x","access_rules":[{"path":"/","method":"GET"}]`: 501,
		`"name":5`: 400,
	} {
		a.want(status, "POST", a.credentialPath("demo"), demo, `{"application_credential":{`+fields+`}}`)
	}
	a.want(http.StatusForbidden, "POST", a.credentialPath("other"), demo, `{"application_credential":{"name":"x"}}`)
	a.want(http.StatusForbidden, "POST", a.credentialPath("demo"), a.login("demo", `"unscoped"`), `{"application_credential":{"name":"x"}}`)
	a.want(http.StatusForbidden, "GET", a.credentialPath("other"), demo, "")
	a.credential("demo", demo, `"name":"twice"`)
	a.want(http.StatusConflict, "POST", a.credentialPath("demo"), demo, `{"application_credential":{"name":"twice"}}`)
}

// TestCredential_ASecretIsShownOnce: a repeated create finds the credential made, but its secret is kept nowhere.
func TestCredential_ASecretIsShownOnce(t *testing.T) {
	a := newAPI(t)
	const body = `{"application_credential":{"name":"once"}}`
	a.want(http.StatusCreated, "POST", a.credentialPath("demo"), a.demo(), body, rest.IdempotencyKeyHeader, "k")
	a.want(http.StatusConflict, "POST", a.credentialPath("demo"), a.demo(), body, rest.IdempotencyKeyHeader, "k")
}
