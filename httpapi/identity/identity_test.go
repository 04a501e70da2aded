package identity_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"golang.org/x/crypto/argon2"

	"github.com/kilonova/kilonova/httpapi/identity"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// password is everybody's.
const password = "correct horse"

// passwordHash is its hash, at a cost that lets tests log in often.
var passwordHash = func() string {
	salt := []byte("saltsaltsaltsalt")
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=64,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(password), salt, 1, 64, 1, 32))
}()

// api is a cloud with its identity service.
type api struct {
	*resttest.Cloud
	t       *testing.T
	tokens  *identity.Tokens
	handler http.Handler
}

func newAPI(t *testing.T) *api {
	a := &api{Cloud: resttest.NewCloudWith(t, passwordHash), t: t, tokens: identity.NewTokens(0)}
	r := chi.NewRouter()
	r.Mount("/identity", identity.Router(identity.Config{Backend: a.Cloud, Tokens: a.tokens}))
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	a.handler = rest.Service{Name: "identity", Errors: rest.KeystoneErrors, Log: log}.Wrap(r)
	return a
}

// call sends a request; headers are pairs of names and values.
func (a *api) call(method, path, token, body string, headers ...string) *http.Response {
	req := httptest.NewRequest(method, "http://node-1:8774/identity"+path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set(rest.TokenHeader, token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, req)
	return w.Result()
}

// want sends a request, checks the status and decodes the body.
func (a *api) want(status int, method, path, token, body string, headers ...string) map[string]any {
	a.t.Helper()
	res := a.call(method, path, token, body, headers...)
	data, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if res.StatusCode != status {
		a.t.Fatalf("%s %s: status %d instead of %d: %s", method, path, res.StatusCode, status, data)
	}
	var v map[string]any
	if len(data) > 0 && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(data, &v); err != nil {
			a.t.Fatalf("%s %s: %v: %s", method, path, err, data)
		}
	}
	return v
}

// loginBody is the body of a login with a password; scope is JSON, or empty.
func loginBody(user, pass, scope string) string {
	if scope != "" {
		scope = `,"scope":` + scope
	}
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"domain":{"name":"Default"},"password":%q}}}%s}}`,
		user, pass, scope)
}

func projectScope(name string) string {
	return fmt.Sprintf(`{"project":{"name":%q,"domain":{"id":"default"}}}`, name)
}

const systemScope = `{"system":{"all":true}}`

// login gives a token.
func (a *api) login(user, scope string) string {
	a.t.Helper()
	return a.tokenFor(loginBody(user, password, scope))
}

func (a *api) tokenFor(body string) string {
	a.t.Helper()
	res := a.call("POST", "/v3/auth/tokens", "", body)
	if res.StatusCode != http.StatusCreated {
		data, _ := io.ReadAll(res.Body)
		a.t.Fatalf("login: status %d: %s", res.StatusCode, data)
	}
	return res.Header.Get("X-Subject-Token")
}

// admin and demo give tokens for these users in their projects.
func (a *api) admin() string { a.t.Helper(); return a.login("admin", projectScope("admin")) }
func (a *api) demo() string  { a.t.Helper(); return a.login("demo", projectScope("demo")) }

// at follows a path like "project/id" into a decoded body.
func at(t *testing.T, v any, path string) any {
	t.Helper()
	for _, step := range strings.Split(path, "/") {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %v", path, v)
		}
		v = m[step]
	}
	return v
}

// TestRecorded_ShapesAreKeystones replays what clients asked a real Keystone, and compares statuses, headers and the
// shapes of bodies with what that one replied.
func TestRecorded_ShapesAreKeystones(t *testing.T) {
	golden := resttest.LoadGoldens(t, "testdata/shapes.txt")
	a := newAPI(t)
	admin, demo := a.admin(), a.demo()
	check := func(name string, res *http.Response, ignore ...string) any {
		t.Helper()
		return golden.Check(t, name, res, ignore...)
	}
	get := func(path, token string) *http.Response { return a.call("GET", path, token, "") }
	check("001-versions-keystone-root", get("/", ""))
	check("002-versions-keystone-v3", get("/v3", ""))
	check("002-versions-keystone-v3", get("/v3/", ""))

	login := func(body string) *http.Response { return a.call("POST", "/v3/auth/tokens", "", body) }
	check("017-token-password-project-raw", login(loginBody("admin", password, projectScope("admin"))))
	check("018-token-password-unscoped", login(loginBody("admin", password, "")))
	check("019-token-password-unscoped-explicit", login(loginBody("admin", password, `"unscoped"`)))
	check("020-token-password-domain-scope", login(loginBody("admin", password, `{"domain":{"name":"Default"}}`)))
	check("021-token-password-system-scope", login(loginBody("admin", password, systemScope)))
	check("022-token-password-nocatalog", a.call("POST", "/v3/auth/tokens?nocatalog", "", loginBody("admin", password, projectScope("admin"))))
	check("024-token-from-token-rescope", login(fmt.Sprintf(
		`{"auth":{"identity":{"methods":["token"],"token":{"id":%q}},"scope":%s}}`, a.login("admin", `"unscoped"`), projectScope("admin"))))
	check("038-error-401-invalid-password", login(loginBody("admin", "wrong", "")))
	check("040-error-401-unknown-user", login(loginBody("nobody", "x", "")))
	check("041-error-401-unknown-project", login(loginBody("admin", password, projectScope("nope"))))
	check("042-error-400-keystone-auth-missing", login(`{"foo":1}`))
	check("043-error-400-keystone-auth-badjson", login(`{bad`))

	revoked := a.demo()
	check("025-token-validate", a.call("GET", "/v3/auth/tokens", admin, "", "X-Subject-Token", revoked))
	check("026-token-check-head", a.call("HEAD", "/v3/auth/tokens", admin, "", "X-Subject-Token", revoked))
	check("027-token-revoke-delete", a.call("DELETE", "/v3/auth/tokens", admin, "", "X-Subject-Token", revoked))
	check("028-token-validate-revoked", a.call("GET", "/v3/auth/tokens", admin, "", "X-Subject-Token", revoked))
	check("029-token-validate-garbage", a.call("GET", "/v3/auth/tokens", admin, "", "X-Subject-Token", "gAAAAABgarbage"))
	check("030-error-401-keystone-garbage-token", get("/v3/projects", "gAAAAABgarbage"))
	check("031-error-401-keystone-no-token", get("/v3/projects", ""))
	check("044-error-404-keystone-path", get("/v3/nothing", admin))

	check("047-auth-catalog", get("/v3/auth/catalog", admin))
	check("048-auth-projects", get("/v3/auth/projects", admin))
	check("049-auth-domains", get("/v3/auth/domains", admin))
	check("050-auth-system", get("/v3/auth/system", admin))
	check("051-endpoint-list#2", get("/v3/endpoints", admin))
	check("052-service-list", get("/v3/services", admin))
	check("053-region-list", get("/v3/regions", admin))
	check("054-domain-list", get("/v3/domains", admin))
	check("079-group-list", get("/v3/groups", admin))
	check("081-error-403-project-create-as-member", a.call("POST", "/v3/projects", demo, `{"project":{"name":"hack"}}`))
}

// TestRecorded_CredentialsAreKeystones does the same for application credentials.
func TestRecorded_CredentialsAreKeystones(t *testing.T) {
	golden := resttest.LoadGoldens(t, "testdata/shapes.txt")
	a := newAPI(t)
	demo := a.demo()
	path := "/v3/users/" + string(a.Users["demo"]) + "/application_credentials"
	body := golden.Check(t, "055-appcred-create", a.call("POST", path, demo,
		fmt.Sprintf(`{"application_credential":{"name":"ac1","roles":[{"id":%q}],"unrestricted":false}}`, a.Roles["member"])))
	id, secret := at(t, body, "application_credential/id").(string), at(t, body, "application_credential/secret").(string)
	golden.Check(t, "056-appcred-list", a.call("GET", path, demo, ""))
	golden.Check(t, "057-appcred-show#2", a.call("GET", path+"/ac1", demo, ""))
	golden.Check(t, "057-appcred-show", a.call("GET", path+"?name=ac1", demo, ""))

	byID := `{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":%q,"secret":%q}}}}`
	golden.Check(t, "058-appcred-token-issue", a.call("POST", "/v3/auth/tokens", "", fmt.Sprintf(byID, id, secret)))
	golden.Check(t, "059-appcred-token-raw-by-name", a.call("POST", "/v3/auth/tokens", "", fmt.Sprintf(
		`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"name":"ac1","user":{"name":"demo","domain":{"name":"Default"}},"secret":%q}}}}`,
		secret)))
	golden.Check(t, "060-appcred-token-bad-secret", a.call("POST", "/v3/auth/tokens", "", fmt.Sprintf(byID, id, "wrong")))
	golden.Check(t, "061-appcred-delete", a.call("DELETE", path+"/"+id, demo, ""))
}

// TestRecorded_RecordsAreKeystones does the same for projects, users, roles and assignments, from creation to deletion.
func TestRecorded_RecordsAreKeystones(t *testing.T) {
	golden := resttest.LoadGoldens(t, "testdata/shapes.txt")
	a := newAPI(t)
	admin := a.admin()
	do := func(name, method, path, body string, ignore ...string) any {
		t.Helper()
		return golden.Check(t, name, a.call(method, path, admin, body), ignore...)
	}
	project := at(t, do("062-project-create", "POST", "/v3/projects",
		`{"project":{"domain_id":"default","name":"labproj","description":"lab project","enabled":true,"options":{},"tags":[]}}`), "project/id").(string)
	do("063-project-list", "GET", "/v3/projects", "")
	do("065-project-show#3", "GET", "/v3/projects/labproj", "")
	do("065-project-show", "GET", "/v3/projects?name=labproj", "")
	do("066-project-set", "PATCH", "/v3/projects/"+project, `{"project":{"description":"changed"}}`)
	do("067-project-create-duplicate-409", "POST", "/v3/projects", `{"project":{"name":"labproj","enabled":true,"options":{},"tags":[]}}`)

	user := at(t, do("068-user-create", "POST", "/v3/users", fmt.Sprintf(
		`{"user":{"name":"labuser","domain_id":"default","default_project_id":%q,"password":"labpass","email":"l@example.org","enabled":true,"options":{}}}`, project)),
		"user/id").(string)
	do("069-user-list", "GET", "/v3/users", "", "/users/*/email", "/users/*/default_project_id")
	do("071-user-show#3", "GET", "/v3/users/labuser", "")
	do("071-user-show", "GET", "/v3/users?name=labuser", "")
	do("072-user-set", "PATCH", "/v3/users/"+user, `{"user":{"email":"m@example.org","enabled":true}}`)

	role := at(t, do("073-role-create", "POST", "/v3/roles", `{"role":{"name":"labrole","options":{}}}`), "role/id").(string)
	do("074-role-list", "GET", "/v3/roles", "")
	grant := "/v3/projects/" + project + "/users/" + user + "/roles/" + string(a.Roles["member"])
	do("075-role-add", "PUT", grant, "")
	do("076-role-assignment-list-names", "GET", "/v3/role_assignments?scope.project.id="+project+"&include_names=True", "")
	do("077-role-remove", "DELETE", grant, "")
	do("083-role-delete", "DELETE", "/v3/roles/"+role, "")
	do("084-user-delete", "DELETE", "/v3/users/"+user, "")
	do("085-project-delete", "DELETE", "/v3/projects/"+project, "")
	for _, gone := range []string{"/v3/projects/" + project, "/v3/users/" + user, "/v3/roles/" + role} {
		a.want(http.StatusNotFound, "GET", gone, admin, "")
	}
}

// TestCatalog_NamesTheNodeThatWasAsked: a client that asked one node goes on asking that one.
func TestCatalog_NamesTheNodeThatWasAsked(t *testing.T) {
	a := newAPI(t)
	body := a.want(http.StatusCreated, "POST", "/v3/auth/tokens", "", loginBody("demo", password, projectScope("demo")))
	for _, entry := range at(t, body, "token/catalog").([]any) {
		for _, e := range entry.(map[string]any)["endpoints"].([]any) {
			if url := e.(map[string]any)["url"].(string); !strings.HasPrefix(url, "http://node-1:8774/") {
				t.Errorf("the catalog names %s", url)
			}
		}
	}
}

// TestIdempotencyKey_ARepeatedCreateMakesOneUser: the reply to a create was lost, and the client sends it again.
func TestIdempotencyKey_ARepeatedCreateMakesOneUser(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	const body = `{"user":{"name":"once","password":"long enough"}}`
	first := a.want(http.StatusCreated, "POST", "/v3/users", admin, body, rest.IdempotencyKeyHeader, "k1")
	again := a.want(http.StatusCreated, "POST", "/v3/users", admin, body, rest.IdempotencyKeyHeader, "k1")
	if x, y := at(t, first, "user/id"), at(t, again, "user/id"); x != y {
		t.Errorf("the repetition made %v beside %v", y, x)
	}
	a.want(http.StatusConflict, "POST", "/v3/users", admin, `{"user":{"name":"two"}}`, rest.IdempotencyKeyHeader, "k1")
	a.want(http.StatusConflict, "POST", "/v3/users", admin, body)
}

// TestQuorum_WithoutOneNobodyIsTold: a node that lost its quorum cannot know whether a token was revoked, so it says 503.
func TestQuorum_WithoutOneNobodyIsTold(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	a.LoseQuorum(true)
	for _, token := range []string{admin, ""} {
		res := a.call("GET", "/v3/users", admin, "")
		if token == "" {
			res = a.call("POST", "/v3/auth/tokens", "", loginBody("demo", password, ""))
		}
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
		}
	}
	res := a.call("GET", "/v3/users", admin, "", rest.ConsistencyHeader, "stale")
	if res.StatusCode != http.StatusOK || res.Header.Get(rest.IndexHeader) == "" {
		t.Errorf("a stale read gave %d", res.StatusCode)
	}
	a.LoseQuorum(false)
	a.want(http.StatusOK, "GET", "/v3/users", admin, "")
}
