package identity_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestPolicy_MembersAdministerNothing: everything that only administrators may do is tried by a member, who may not, and by nobody.
func TestPolicy_MembersAdministerNothing(t *testing.T) {
	a := newAPI(t)
	demo := a.demo()
	user, project, role := string(a.Users["other"]), string(a.Projs["other"]), string(a.Roles["admin"])
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v3/users", ""},
		{"GET", "/v3/users/" + user, ""},
		{"GET", "/v3/users/no-such-user", ""},
		{"POST", "/v3/users", `{"user":{"name":"x"}}`},
		{"PATCH", "/v3/users/" + user, `{"user":{"password":"x"}}`},
		{"PATCH", "/v3/users/" + string(a.Users["demo"]), `{"user":{"name":"x"}}`},
		{"DELETE", "/v3/users/" + user, ""},
		{"GET", "/v3/projects", ""},
		{"GET", "/v3/projects/" + project, ""},
		{"POST", "/v3/projects", `{"project":{"name":"x"}}`},
		{"PATCH", "/v3/projects/" + project, `{"project":{"name":"x"}}`},
		{"DELETE", "/v3/projects/" + project, ""},
		{"GET", "/v3/roles", ""},
		{"POST", "/v3/roles", `{"role":{"name":"x"}}`},
		{"PATCH", "/v3/roles/" + role, `{"role":{"name":"x"}}`},
		{"DELETE", "/v3/roles/" + role, ""},
		{"GET", "/v3/role_assignments", ""},
		{"GET", "/v3/role_inferences", ""},
		{"PUT", "/v3/projects/" + project + "/users/" + user + "/roles/" + role, ""},
		{"DELETE", "/v3/projects/" + project + "/users/" + user + "/roles/" + role, ""},
		{"PUT", "/v3/system/users/" + string(a.Users["demo"]) + "/roles/" + role, ""},
		{"GET", "/v3/system/users/" + user + "/roles", ""},
		{"GET", "/v3/services", ""},
		{"GET", "/v3/endpoints", ""},
		{"GET", "/v3/domains", ""},
		{"GET", "/v3/groups", ""},
		{"GET", "/v3/users/" + user + "/projects", ""},
	} {
		body := a.want(http.StatusForbidden, c.method, c.path, demo, c.body)
		if msg := at(t, body, "error/message").(string); !strings.HasPrefix(msg, "You are not authorized to perform the requested action: identity:") {
			t.Errorf("%s %s: %s", c.method, c.path, msg)
		}
		a.want(http.StatusUnauthorized, c.method, c.path, "", c.body)
	}
	a.want(http.StatusForbidden, "GET", "/v3/auth/tokens", demo, "", "X-Subject-Token", a.admin())
	a.want(http.StatusForbidden, "DELETE", "/v3/auth/tokens", demo, "", "X-Subject-Token", a.admin())
}

// TestPolicy_UsersSeeWhatIsTheirs: themselves, their project, their tokens and their roles.
func TestPolicy_UsersSeeWhatIsTheirs(t *testing.T) {
	a := newAPI(t)
	demo, me := a.demo(), string(a.Users["demo"])
	a.want(http.StatusOK, "GET", "/v3/users/"+me, demo, "")
	a.want(http.StatusOK, "GET", "/v3/projects/"+string(a.Projs["demo"]), demo, "")
	a.want(http.StatusOK, "GET", "/v3/regions", demo, "")
	a.want(http.StatusOK, "GET", "/v3/regions/RegionOne", demo, "")
	a.want(http.StatusOK, "GET", "/v3/domains/default", demo, "")
	a.want(http.StatusOK, "GET", "/v3/users/"+me+"/groups", demo, "")
	a.want(http.StatusOK, "GET", "/v3/auth/tokens", demo, "", "X-Subject-Token", a.demo())
	list := a.want(http.StatusOK, "GET", "/v3/users/"+me+"/projects", demo, "")
	if got := at(t, list, "projects").([]any); len(got) != 1 {
		t.Errorf("demo has projects %v", got)
	}
	list = a.want(http.StatusOK, "GET", "/v3/role_assignments?effective&include_names&user.id="+me, demo, "")
	if got := at(t, list, "role_assignments").([]any); len(got) != 2 {
		t.Errorf("demo has roles %v", got)
	}
}

// TestPolicy_SystemReadersLookAtEverythingAndChangeNothing.
func TestPolicy_SystemReadersLookAtEverythingAndChangeNothing(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	a.want(http.StatusNoContent, "PUT", "/v3/system/users/"+string(a.Users["viewer"])+"/roles/"+string(a.Roles["reader"]), admin, "")
	auditor := a.login("viewer", systemScope)
	for _, path := range []string{"/v3/users", "/v3/projects", "/v3/roles", "/v3/role_assignments", "/v3/services", "/v3/domains"} {
		a.want(http.StatusOK, "GET", path, auditor, "")
	}
	a.want(http.StatusForbidden, "POST", "/v3/projects", auditor, `{"project":{"name":"x"}}`)
	a.want(http.StatusNoContent, "DELETE", "/v3/system/users/"+string(a.Users["viewer"])+"/roles/"+string(a.Roles["reader"]), admin, "")
	a.want(http.StatusUnauthorized, "GET", "/v3/users", auditor, "")
}

// TestRecords_BadInputIsSaidSo: nothing of it is stored, and what is only unusual text is kept as it is.
func TestRecords_BadInputIsSaidSo(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	for _, c := range []struct {
		status     int
		path, body string
	}{
		{400, "/v3/projects", `{}`},
		{400, "/v3/projects", `{"project":{}}`},
		{400, "/v3/projects", `{"project":{"name":""}}`},
		{400, "/v3/projects", `{"project":{"name":"   "}}`},
		{400, "/v3/projects", `{"project":{"name":"a\u0000b"}}`},
		{400, "/v3/projects", `{"project":{"name":"` + strings.Repeat("x", 65) + `"}}`},
		{400, "/v3/projects", `{"project":{"name":5}}`},
		{400, "/v3/projects", `{"project":{"name":"x","enabled":"maybe"}}`},
		{400, "/v3/projects", `{"project":{"name":"x","parent_id":"` + string(a.Projs["demo"]) + `"}}`},
		{400, "/v3/projects", `{"project":{"name":"x","is_domain":true}}`},
		{400, "/v3/projects", `{"project":{"name":"x","colour":{"a":1}}}`},
		{400, "/v3/projects", `{"project":{"name":"x","options":{"magic":true}}}`},
		{404, "/v3/projects", `{"project":{"name":"x","domain_id":"elsewhere"}}`},
		{400, "/v3/users", `{"user":{"name":"x","options":{"lock_password":true}}}`},
		{400, "/v3/users", `{"user":{"name":"x","password":""}}`},
		{400, "/v3/users", `{"user":{"name":"x","password":"` + strings.Repeat("x", 5000) + `"}}`},
		{400, "/v3/users", `{"user":{"name":"x\ny"}}`},
		{400, "/v3/users", `{bad`},
		{400, "/v3/users", ``},
		{400, "/v3/users", strings.Repeat(`{"user":`, 10_000)},
		{413, "/v3/users", `{"user":{"name":"` + strings.Repeat("x", 200_000) + `"}}`},
		{400, "/v3/roles", `{"role":{"name":"x","domain_id":"default"}}`},
		{409, "/v3/roles", `{"role":{"name":"admin"}}`},
		{409, "/v3/users", `{"user":{"name":"demo"}}`},
		{409, "/v3/projects", `{"project":{"name":"demo"}}`},
		{501, "/v3/groups", `{"group":{"name":"x"}}`},
		{501, "/v3/domains", `{"domain":{"name":"x"}}`},
		{501, "/v3/endpoints", `{"endpoint":{}}`},
	} {
		a.want(c.status, "POST", c.path, admin, c.body)
	}
	for _, name := range []string{"../../etc/passwd", "<user>&amp;</user>", "' OR 1=1 --", "ünï·cödé 💥"} {
		quoted, _ := json.Marshal(name)
		body := a.want(http.StatusCreated, "POST", "/v3/users", admin, `{"user":{"name":`+string(quoted)+`}}`)
		if got := at(t, body, "user/name"); got != name {
			t.Errorf("name %q became %q", name, got)
		}
	}
	res := a.call("POST", "/v3/users", admin, `<user/>`, "Content-Type", "application/xml")
	if res.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("XML gave %d", res.StatusCode)
	}
}

// TestProject_ImmutableOneStays until the option is taken away.
func TestProject_ImmutableOneStays(t *testing.T) {
	a := newAPI(t)
	admin, path := a.admin(), "/v3/projects/"+string(a.Projs["demo"])
	a.want(http.StatusOK, "PATCH", path, admin, `{"project":{"options":{"immutable":true}}}`)
	a.want(http.StatusForbidden, "PATCH", path, admin, `{"project":{"description":"x"}}`)
	a.want(http.StatusForbidden, "DELETE", path, admin, "")
	a.want(http.StatusOK, "PATCH", path, admin, `{"project":{"options":{"immutable":false}}}`)
	a.want(http.StatusNoContent, "DELETE", path, admin, "")
}

// TestUser_TheLastAdministratorStays: nobody can lock everybody out.
func TestUser_TheLastAdministratorStays(t *testing.T) {
	a := newAPI(t)
	admin, path := a.admin(), "/v3/users/"+string(a.Users["admin"])
	a.want(http.StatusConflict, "DELETE", path, admin, "")
	a.want(http.StatusConflict, "PATCH", path, admin, `{"user":{"enabled":false}}`)
	a.want(http.StatusForbidden, "DELETE", "/v3/roles/"+string(a.Roles["admin"]), admin, "")
	a.want(http.StatusForbidden, "PATCH", "/v3/roles/"+string(a.Roles["admin"]), admin, `{"role":{"name":"x"}}`)
}

// TestUser_PropertiesAreKeptBesideTheFields, and change without losing the others.
func TestUser_PropertiesAreKeptBesideTheFields(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	body := a.want(http.StatusCreated, "POST", "/v3/users", admin, `{"user":{"name":"p","colour":"red","size":"L","description":"d"}}`)
	path := "/v3/users/" + at(t, body, "user/id").(string)
	body = a.want(http.StatusOK, "PATCH", path, admin, `{"user":{"colour":"blue"}}`)
	if at(t, body, "user/colour") != "blue" || at(t, body, "user/size") != "L" || at(t, body, "user/extra/description") != "d" {
		t.Errorf("the user is %v", body)
	}
	a.want(http.StatusUnauthorized, "POST", "/v3/auth/tokens", "", loginBody("p", "", ""))
}

// TestList_FiltersAndPages: the queries that clients narrow a list with.
func TestList_FiltersAndPages(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	length := func(path, name string) int {
		t.Helper()
		return len(at(t, a.want(http.StatusOK, "GET", path, admin, ""), name).([]any))
	}
	a.want(http.StatusOK, "PATCH", "/v3/projects/"+string(a.Projs["other"]), admin, `{"project":{"enabled":false,"tags":["red","big"]}}`)
	for query, want := range map[string]int{
		"": 3, "?name=demo": 1, "?name=nope": 0, "?enabled=true": 2, "?enabled=False": 1, "?domain_id=default": 3, "?domain_id=x": 0,
		"?name__contains=E": 2, "?name__startswith=ad": 1, "?tags=red": 1, "?tags=red,small": 0, "?tags-any=red,small": 1, "?not-tags=red": 2, "?is_domain=true": 0,
	} {
		if got := length("/v3/projects"+query, "projects"); got != want {
			t.Errorf("%q gives %d projects, want %d", query, got, want)
		}
	}
	for query, want := range map[string]int{
		"": 5, "?user.id=" + string(a.Users["admin"]): 2, "?scope.system=all": 1, "?role.id=" + string(a.Roles["member"]): 2,
		"?group.id=x": 0, "?scope.domain.id=default": 0, "?effective&user.id=" + string(a.Users["admin"]): 6,
		"?scope.project.id=" + string(a.Projs["demo"]): 2,
	} {
		if got := length("/v3/role_assignments"+query, "role_assignments"); got != want {
			t.Errorf("%q gives %d assignments, want %d", query, got, want)
		}
	}
	if n := length("/v3/endpoints?interface=public", "endpoints"); n != 6 {
		t.Errorf("%d public endpoints", n)
	}
	if n := length("/v3/services?type=compute", "services"); n != 1 {
		t.Errorf("%d compute services", n)
	}
	seen, path := 0, "/v3/users?limit=3"
	for path != "" {
		body := a.want(http.StatusOK, "GET", path, admin, "")
		seen += len(at(t, body, "users").([]any))
		next, _ := at(t, body, "links/next").(string)
		_, path, _ = strings.Cut(next, "/identity")
	}
	if seen != 4 {
		t.Errorf("pages hold %d users", seen)
	}
	a.want(http.StatusBadRequest, "GET", "/v3/users?limit=x", admin, "")
	a.want(http.StatusBadRequest, "GET", "/v3/users?limit=1&marker=nobody", admin, "")
}

// TestGrants_AreGivenTakenAndChecked in projects and in the system.
func TestGrants_AreGivenTakenAndChecked(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	for _, scope := range []string{"/v3/projects/" + string(a.Projs["other"]), "/v3/system"} {
		roles := scope + "/users/" + string(a.Users["demo"]) + "/roles"
		path := roles + "/" + string(a.Roles["reader"])
		a.want(http.StatusNotFound, "HEAD", path, admin, "")
		a.want(http.StatusNoContent, "PUT", path, admin, "")
		a.want(http.StatusNoContent, "PUT", path, admin, "")
		a.want(http.StatusNoContent, "HEAD", path, admin, "")
		if got := at(t, a.want(http.StatusOK, "GET", roles, admin, ""), "roles").([]any); len(got) != 1 {
			t.Errorf("roles are %v", got)
		}
		a.want(http.StatusNoContent, "DELETE", path, admin, "")
		a.want(http.StatusNotFound, "DELETE", path, admin, "")
	}
	member := "/roles/" + string(a.Roles["member"])
	a.want(http.StatusNotFound, "PUT", "/v3/projects/nope/users/"+string(a.Users["demo"])+member, admin, "")
	a.want(http.StatusNotFound, "PUT", "/v3/projects/"+string(a.Projs["demo"])+"/users/nope"+member, admin, "")
	a.want(http.StatusNotFound, "PUT", fmt.Sprintf("/v3/projects/%s/users/%s/roles/nope", a.Projs["demo"], a.Users["demo"]), admin, "")
	a.want(http.StatusNotImplemented, "PUT", "/v3/domains/default/users/"+string(a.Users["demo"])+member, admin, "")
}

// TestUpdate_ComesThroughBesideOtherChanges: the record changes between reading and writing. The update must be made on top of
// the newer one.
func TestUpdate_ComesThroughBesideOtherChanges(t *testing.T) {
	a := newAPI(t)
	admin, path := a.admin(), "/v3/projects/"+string(a.Projs["demo"])
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			a.call("PATCH", path, admin, fmt.Sprintf(`{"project":{"left":"%d"}}`, i))
		}
	}()
	for i := range 20 {
		a.call("PATCH", path, admin, fmt.Sprintf(`{"project":{"right":"%d"}}`, i))
	}
	<-done
	p, _ := a.Local().Project(a.Projs["demo"])
	if p.Extra["left"] != "19" || p.Extra["right"] != "19" {
		t.Errorf("the project has %v", p.Extra)
	}
}
