package network

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// maxBulk bounds how many things one request makes.
const maxBulk = 100

// attributes are the fields of a request's object, kept raw so that what is absent, null and set can be told apart.
type attributes map[string]json.RawMessage

// single reads {"name": {...}}, for an update. Attributes that are not allowed are refused in Neutron's words.
func single(r *http.Request, name string, allowed []string) (attributes, error) {
	all, many, err := objects(r, name, allowed)
	if err != nil {
		return nil, err
	}
	if many {
		return nil, cluster.Errorf(cluster.Invalid, "Unable to find '%s' in request body", name)
	}
	return all[0], nil
}

// objects reads {"name": {...}} or {"names": [{...}, ...]}; many tells which it was.
func objects(r *http.Request, name string, allowed []string) (all []attributes, many bool, err error) {
	body, err := rest.Decode[map[string]json.RawMessage](r)
	if err != nil {
		return nil, false, err
	}
	if raw, ok := body[name+"s"]; ok {
		many = true
		if err := json.Unmarshal(raw, &all); err != nil || len(all) == 0 || len(all) > maxBulk {
			return nil, true, cluster.Errorf(cluster.Invalid, "Bulk operation: %ss must be a list of 1 to %d objects", name, maxBulk)
		}
	} else {
		var a attributes
		raw, ok := body[name]
		if !ok || json.Unmarshal(raw, &a) != nil || a == nil {
			return nil, false, cluster.Errorf(cluster.Invalid, "Unable to find '%s' in request body", name)
		}
		all = []attributes{a}
	}
	for _, a := range all {
		var unknown []string
		for key := range a {
			if !slices.Contains(allowed, key) {
				unknown = append(unknown, key)
			}
		}
		if len(unknown) > 0 {
			slices.Sort(unknown)
			return nil, many, cluster.Errorf(cluster.Invalid, "Unrecognized attribute(s) '%s'", strings.Join(unknown, ", "))
		}
	}
	return all, many, nil
}

// has tells whether an attribute was given at all.
func (a attributes) has(key string) bool { _, ok := a[key]; return ok }

// null tells whether an attribute was given as null.
func (a attributes) null(key string) bool {
	return bytes.Equal(bytes.TrimSpace(a[key]), []byte("null"))
}

// read decodes an attribute into a value, which keeps what it has when the attribute is absent. Null sets the zero value.
func read[T any](a attributes, key string, into *T) error {
	raw, ok := a[key]
	if !ok {
		return nil
	}
	if a.null(key) {
		var zero T
		*into = zero
		return nil
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return cluster.Errorf(cluster.Invalid, "Invalid input for %s. Reason: '%s' is not of the right type.", key, clip(string(raw)))
	}
	*into = v
	return nil
}

// text decodes a text and checks its length.
func (a attributes) text(key string, into *string, longest int) error {
	if err := read(a, key, into); err != nil {
		return err
	}
	return rest.CheckText(key, *into, 0, longest)
}

// boolean decodes a boolean in the spellings that Neutron takes.
func (a attributes) boolean(key string, into *bool) error {
	switch strings.ToLower(strings.Trim(string(bytes.TrimSpace(a[key])), `"`)) {
	case "":
		return nil
	case "true", "1":
		*into = true
	case "false", "0":
		*into = false
	default:
		return cluster.Errorf(cluster.Invalid, "Invalid input for %s. Reason: '%s' cannot be converted to boolean.", key, clip(string(a[key])))
	}
	return nil
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// owner is the project that a new thing belongs to: the caller's, or, for administrators, the one that the body names.
func (a attributes) owner(c *rest.Caller, kind string) (cluster.ProjectID, error) {
	project := string(c.ProjectID())
	for _, key := range []string{"tenant_id", "project_id"} {
		if err := a.text(key, &project, 64); err != nil {
			return "", err
		}
	}
	if project != string(c.ProjectID()) && !c.Admin() {
		return "", denied("create_" + kind + ":tenant_id")
	}
	if project == "" {
		return "", cluster.Errorf(cluster.Invalid, "Running without keystone AuthN requires that tenant_id is specified")
	}
	return cluster.ProjectID(project), nil
}

// adminOnly refuses attributes that only administrators may set. In a request that makes something, saying what is so
// anyway is not setting it: clients send "shared": false.
func (a attributes) adminOnly(c *rest.Caller, rule string, keys ...string) error {
	making := strings.HasPrefix(rule, "create_")
	for _, key := range keys {
		if !a.has(key) || c.Admin() || making && slices.Contains(nothings, string(bytes.TrimSpace(a[key]))) {
			continue
		}
		return deniedAttribute(rule, key)
	}
	return nil
}

// nothings are the values that the attributes of administrators have when nobody sets them.
var nothings = []string{"null", "false", `""`, "{}"}

// deniedAttribute is the refusal of an attribute that the caller's roles do not allow.
func deniedAttribute(rule, key string) error {
	return &rest.HTTPError{Status: http.StatusForbidden, Code: cluster.Forbidden, Type: "PolicyNotAuthorized",
		Message: "(rule:" + rule + " and rule:" + rule + ":" + key + ") is disallowed by policy"}
}

// readOnly refuses attributes that an update may not have.
func (a attributes) readOnly(keys ...string) error {
	for _, key := range keys {
		if a.has(key) {
			return cluster.Errorf(cluster.Invalid, "Cannot update read-only attribute %s", key)
		}
	}
	return nil
}

// network is the network that a new subnet or port is on.
func (a attributes) network() (string, error) {
	id := ""
	if err := a.text("network_id", &id, maxName); err != nil {
		return "", err
	}
	if id == "" {
		return "", cluster.Errorf(cluster.Invalid, "Failed to parse request. Required attribute 'network_id' not specified")
	}
	return id, nil
}
