package volume_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// newType makes a type, whose ID then stands for ID.
func (s *site) newType(body string) string {
	s.t.Helper()
	s.id = s.get(200, "admin", "POST /types", `{"volume_type": {`+body+`}}`)["volume_type"].(map[string]any)["id"].(string)
	return s.id
}

// An administrator makes a type of shared, encrypted volumes as openstackclient does, changes it, and deletes it when nothing is of it any
// more. A volume has it by name.
func TestTypes_AreMadeChangedAndDeleted(t *testing.T) {
	s := newSite(t)
	kind := s.newType(`"name": "gold", "description": "bright", "os-volume-type-access:is_public": true, "extra_specs": {"volume_backend_name": "shared"}`)
	e := s.get(200, "admin", "POST /types/ID/encryption", `{"encryption": {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256,
		"control_location": "front-end"}}`)["encryption"].(map[string]any)
	if e["volume_type_id"] != kind || e["provider"] != "luks" || e["key_size"] != 256.0 {
		t.Errorf("encryption %v", e)
	}
	s.get(400, "admin", "POST /types/ID/encryption", `{"encryption": {"provider": "luks"}}`)
	if got := s.get(200, "demo", "GET /types/ID/encryption/cipher", "")["cipher"]; got != "aes-xts-plain64" {
		t.Errorf("cipher %v", got)
	}
	v := s.get(202, "demo", "POST /volumes", `{"volume": {"size": 1, "volume_type": "gold"}}`)["volume"].(map[string]any)
	s.id = kind
	rec, _ := s.Local().Volume(cluster.VolumeID(v["id"].(string)))
	if v["volume_type"] != "gold" || !rec.Shared() || !rec.Traits.Encrypted || len(rec.Secret) == 0 {
		t.Errorf("the volume is %v, %+v", v, rec.Traits)
	}
	s.get(200, "admin", "PUT /types/ID", `{"volume_type": {"name": "silver", "is_public": false}}`)
	if got := s.get(200, "demo", "GET /volumes/"+string(rec.ID), "", "3.63")["volume"].(map[string]any); got["volume_type"] != "silver" || got["volume_type_id"] != kind {
		t.Errorf("the volume is %v", got)
	}
	s.get(400, "admin", "PUT /types/ID/encryption/provider", `{"encryption": {"provider": "plain"}}`)
	s.get(400, "admin", "DELETE /types/ID/extra_specs/volume_backend_name", "")
	s.get(400, "admin", "DELETE /types/ID", "")
	s.Must(&cluster.DeleteVolume{ID: rec.ID})
	s.get(200, "admin", "PUT /types/ID/encryption/provider", `{"encryption": {"key_size": 128}}`)
	s.ask("admin", "DELETE /types/ID/encryption/provider", "")
	if got := s.get(200, "admin", "GET /types/ID/encryption", ""); len(got) != 0 {
		t.Errorf("encryption %v", got)
	}
	if res := s.ask("admin", "DELETE /types/ID", ""); res.StatusCode != 202 {
		t.Errorf("deleted: %d", res.StatusCode)
	}
	s.get(404, "admin", "GET /types/ID", "")
}

// A private type is there for those who were given access to it, and for administrators.
func TestTypes_PrivateOnesAreForWhoHasAccess(t *testing.T) {
	s := newSite(t)
	kind := s.newType(`"name": "ours", "os-volume-type-access:is_public": false`)
	listed := func(token, query string) (found bool) {
		for _, x := range s.get(200, token, "GET /types"+query, "")["volume_types"].([]any) {
			found = found || x.(map[string]any)["name"] == "ours"
		}
		return found
	}
	make := `{"volume": {"size": 1, "volume_type": "ID"}}`
	s.get(404, "demo", "POST /volumes", make)
	s.get(404, "demo", "GET /types/ID", "")
	demo := fmt.Sprintf(`{"project": %q}`, s.Projs["demo"])
	s.ask("admin", "POST /types/ID/action", `{"addProjectAccess": `+demo+`}`)
	s.get(409, "admin", "POST /types/ID/action", `{"addProjectAccess": `+demo+`}`)
	s.get(202, "demo", "POST /volumes", make)
	s.id = kind
	if !listed("demo", "") || listed("other", "") || listed("admin", "") || !listed("admin", "?is_public=None") || !listed("admin", "?is_public=False") {
		t.Error("it is listed for others than who may have it")
	}
	if got := s.get(200, "admin", "GET /types/ID/os-volume-type-access", "")["volume_type_access"].([]any); len(got) != 1 {
		t.Errorf("access: %v", got)
	}
	s.ask("admin", "POST /types/ID/action", `{"removeProjectAccess": `+demo+`}`)
	s.get(404, "admin", "POST /types/ID/action", `{"removeProjectAccess": `+demo+`}`)
	s.get(404, "demo", "POST /volumes", make)
	s.newType(`"name": "all"`)
	s.get(404, "admin", "GET /types/ID/os-volume-type-access", "")
	s.get(409, "admin", "POST /types/ID/action", `{"addProjectAccess": `+demo+`}`)
}

func TestTypes_ExtraSpecsComeAndGo(t *testing.T) {
	s := newSite(t)
	s.newType(`"name": "gold"`)
	s.get(200, "admin", "POST /types/ID/extra_specs", `{"extra_specs": {"a": "b", "c": "d"}}`)
	s.get(200, "admin", "PUT /types/ID/extra_specs/a", `{"a": "x"}`)
	if got := s.get(200, "demo", "GET /types/ID/extra_specs", "")["extra_specs"].(map[string]any); len(got) != 2 || got["a"] != "x" {
		t.Errorf("specs %v", got)
	}
	if res := s.ask("admin", "DELETE /types/ID/extra_specs/a", ""); res.StatusCode != 202 {
		t.Errorf("deleted: %d", res.StatusCode)
	}
	s.get(404, "admin", "GET /types/ID/extra_specs/a", "")
	s.get(404, "admin", "DELETE /types/ID/extra_specs/a", "")
}

func TestTypes_BadInputIsRefused(t *testing.T) {
	s := newSite(t)
	s.newType(`"name": "gold"`)
	for _, x := range []struct {
		what, body string
		status     int
	}{
		{"POST /types", `{"volume_type": {"name": ""}}`, 400}, {"POST /types", `{"volume_type": {"name": " "}}`, 400},
		{"POST /types", `{"volume_type": {"name": "gold"}}`, 409}, {"POST /types", `{"volume_type": {"name": "shared"}}`, 409},
		{"POST /types", `{}`, 400}, {"POST /types", `{"volume_type": {"name": "x", "extra_specs": {"a": 1}}}`, 400},
		{"PUT /types/ID", `{"volume_type": {}}`, 400}, {"PUT /types/ID", `{"volume_type": {"name": "local"}}`, 409},
		{"PUT /types/local", `{"volume_type": {"name": "x"}}`, 400}, {"DELETE /types/local", "", 400}, {"DELETE /types/none", "", 404},
		{"POST /types/ID/extra_specs", `{"extra_specs": ["x"]}`, 400}, {"POST /types/ID/extra_specs", `{}`, 400},
		{"POST /types/none/extra_specs", `{"extra_specs": {"a": "b"}}`, 404},
		{"PUT /types/ID/extra_specs/a", `{"b": "c"}`, 400}, {"PUT /types/ID/extra_specs/a", `{"a": "b", "c": "d"}`, 400},
		{"POST /types/ID/encryption", `{"encryption": {}}`, 400}, {"POST /types/ID/encryption", `{"encryption": {"provider": "luks", "control_location": "x"}}`, 400},
		{"POST /types/none/encryption", `{"encryption": {"provider": "luks"}}`, 404},
		{"PUT /types/ID/encryption/x", `{"encryption": {"cipher": "x"}}`, 404}, {"DELETE /types/ID/encryption/x", "", 404},
		{"POST /types/ID/action", `{"fly": {}}`, 400}, {"POST /types/ID/action", `{"addProjectAccess": {}}`, 400},
	} {
		s.get(x.status, "admin", x.what, x.body)
	}
	for _, what := range []string{"POST /types", "PUT /types/ID", "DELETE /types/ID", "POST /types/ID/extra_specs", "POST /types/ID/encryption",
		"POST /types/ID/action", "GET /types/ID/os-volume-type-access"} {
		s.get(403, "demo", what, map[bool]string{true: "", false: "{}"}[what[:3] == "GET"])
	}
}

// A volume changes its type as long as its bytes may stay as they are.
func TestRetype_WithinAKind(t *testing.T) {
	s := newSite(t)
	s.newType(`"name": "gold"`)
	v := s.get(202, "demo", "POST /volumes", `{"volume": {"size": 1}}`)["volume"].(map[string]any)["id"].(string)
	path := "POST /volumes/" + v + "/action"
	if res := s.ask("demo", path, `{"os-retype": {"new_type": "gold", "migration_policy": "never"}}`); res.StatusCode != 202 {
		t.Errorf("status %d", res.StatusCode)
	}
	if got := s.get(200, "demo", "GET /volumes/"+v, "")["volume"].(map[string]any)["volume_type"]; got != "gold" {
		t.Errorf("type %v", got)
	}
	s.get(400, "demo", path, `{"os-retype": {"new_type": "shared"}}`)
	s.get(400, "demo", path, `{"os-retype": {"new_type": "local-encrypted"}}`)
	s.get(404, "demo", path, `{"os-retype": {"new_type": "none"}}`)
	s.get(400, "demo", path, `{"os-retype": {"new_type": "gold", "migration_policy": "x"}}`)
}

// FuzzTypes sends administrators' bodies about types. Nothing of them is the service's own fault, and the state stays whole.
func FuzzTypes(f *testing.F) {
	f.Add("POST /types", `{"volume_type": {"name": "x", "extra_specs": {"a": "b"}, "os-volume-type-access:is_public": "no"}}`)
	f.Add("PUT /types/ID", `{"volume_type": {"name": null, "description": "d", "is_public": false}}`)
	f.Add("POST /types/ID/extra_specs", `{"extra_specs": {"multiattach": "<is> True"}}`)
	f.Add("PUT /types/ID/extra_specs/a", `{"a": "b"}`)
	f.Add("POST /types/ID/encryption", `{"encryption": {"provider": "luks", "key_size": "256", "cipher": null}}`)
	f.Add("PUT /types/ID/encryption/provider", `{"encryption": {"control_location": "back-end"}}`)
	f.Add("POST /types/ID/action", `{"addProjectAccess": {"project": "p"}}`)
	f.Fuzz(func(t *testing.T, what, body string) {
		known := []string{"POST /types", "PUT /types/ID", "POST /types/ID/extra_specs", "PUT /types/ID/extra_specs/a", "POST /types/ID/encryption",
			"PUT /types/ID/encryption/provider", "POST /types/ID/action"}
		if !slices.Contains(known, what) {
			t.Skip()
		}
		s := newSite(t)
		s.newType(`"name": "gold", "os-volume-type-access:is_public": false`)
		if res := s.ask("admin", what, body); res.StatusCode >= 500 {
			t.Errorf("%s %s: %d", what, body, res.StatusCode)
		}
		if err := s.Local().Verify(); err != nil {
			t.Error(err)
		}
	})
}
