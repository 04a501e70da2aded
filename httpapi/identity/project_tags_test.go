package identity_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestProjectTags_AreAResourceOfTheirOwn: administrators set, add and remove the tags of a project one by one or all at
// once; its users read them; what cannot be a tag is refused.
func TestProjectTags_AreAResourceOfTheirOwn(t *testing.T) {
	a := newAPI(t)
	admin := a.admin()
	path := "/v3/projects/" + string(a.Projs["demo"]) + "/tags"
	now := func(want ...any) {
		t.Helper()
		body := a.want(http.StatusOK, "GET", path, admin, "")
		if got := at(t, body, "tags").([]any); !slices.Equal(got, want) {
			t.Errorf("the tags are %v, want %v", got, want)
		}
		if self := at(t, body, "links/self").(string); !strings.HasSuffix(self, path) {
			t.Errorf("self is %s", self)
		}
	}
	now()
	a.want(http.StatusOK, "PUT", path, admin, `{"tags":["red","big"]}`)
	now("big", "red")
	a.want(http.StatusCreated, "PUT", path+"/in%20use", admin, "")
	a.want(http.StatusCreated, "PUT", path+"/red", admin, "")
	now("big", "in use", "red")
	a.want(http.StatusNoContent, "GET", path+"/in%20use", admin, "")
	a.want(http.StatusNoContent, "DELETE", path+"/big", admin, "")
	a.want(http.StatusNotFound, "GET", path+"/big", admin, "")
	a.want(http.StatusNotFound, "DELETE", path+"/big", admin, "")
	for _, bad := range []string{`{}`, `{"tags":null}`, `{"tags":["a,b"]}`, `{"tags":["a/b"]}`, `{"tags":[""]}`, `{"tags":["a","a"]}`, `{"tags":[1]}`,
		`{"tags":["` + strings.Repeat("x", 256) + `"]}`} {
		a.want(http.StatusBadRequest, "PUT", path, admin, bad)
	}
	now("in use", "red")
	a.want(http.StatusNoContent, "DELETE", path, admin, "")
	now()
	a.want(http.StatusNotFound, "GET", "/v3/projects/nope/tags", admin, "")
	a.want(http.StatusNotFound, "PUT", "/v3/projects/nope/tags/x", admin, "")
}

// TestProjectTags_OnlyAdministratorsChangeThem, and only the users of a project read them, and nobody changes those of a
// project that is immutable.
func TestProjectTags_OnlyAdministratorsChangeThem(t *testing.T) {
	a := newAPI(t)
	admin, member := a.admin(), a.demo()
	own, others := "/v3/projects/"+string(a.Projs["demo"])+"/tags", "/v3/projects/"+string(a.Projs["other"])+"/tags"
	a.want(http.StatusOK, "GET", own, member, "")
	a.want(http.StatusForbidden, "GET", others, member, "")
	a.want(http.StatusForbidden, "PUT", own, member, `{"tags":["x"]}`)
	a.want(http.StatusForbidden, "PUT", own+"/x", member, "")
	a.want(http.StatusForbidden, "DELETE", own, member, "")
	a.want(http.StatusOK, "PATCH", strings.TrimSuffix(own, "/tags"), admin, `{"project":{"options":{"immutable":true}}}`)
	a.want(http.StatusForbidden, "PUT", own+"/x", admin, "")
}
