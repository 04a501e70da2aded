package image

import (
	"encoding/json"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The two forms of a change: {"replace": "/name", "value": ...} and {"op": "replace", "path": "/name", "value": ...}.
const (
	patchOld = "application/openstack-images-v2.0-json-patch"
	patchNew = "application/openstack-images-v2.1-json-patch"

	maxPatch = 1000 // operations in one request
)

// operation is one step of a change.
type operation struct {
	op    string // add, replace or remove
	name  string // attribute or property
	value json.RawMessage
	old   bool // in the old form, adding what is there is a conflict
}

func (s *server) patch(w http.ResponseWriter, r *http.Request) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != patchOld && media != patchNew {
		w.Header().Set("Accept-Patch", patchOld+", "+patchNew)
		return unsupported(r)
	}
	body, err := rest.Decode[json.RawMessage](r)
	if err != nil {
		return err
	}
	operations, err := parsePatch(body, media == patchOld)
	if err != nil {
		return err
	}
	err = s.update(r, "modify_image", func(i *cluster.Image) (bool, error) {
		e := &edit{image: i, caller: rest.CallerFrom(r.Context())}
		for _, o := range operations {
			if err := o.apply(e); err != nil {
				return false, err
			}
		}
		return len(operations) > 0, e.check()
	})
	if err != nil {
		return err
	}
	return s.replyPatched(w, r)
}

// replyPatched shows the image as it is now. Its caller may have given it away.
func (s *server) replyPatched(w http.ResponseWriter, r *http.Request) error {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return err
	}
	id, _ := rest.CanonicalUUID(rest.Param(r, "id"))
	i, ok := view.Image(cluster.ImageID(id))
	if !ok {
		return missing(id)
	}
	rest.Reply(w, http.StatusOK, render(i))
	return nil
}

// apply does one step.
func (o operation) apply(e *edit) error {
	_, present := e.image.Properties[o.name]
	queued := e.image.Status == cluster.ImageQueued
	if (o.name == "disk_format" || o.name == "container_format") && !queued && o.op != "remove" {
		return cluster.Errorf(cluster.Forbidden, "Attribute %s can be only replaced for a queued image.", o.name)
	}
	switch {
	case isAttribute(o.name) && o.op == "remove":
		return cluster.Errorf(cluster.Forbidden, "Property %s may not be removed.", o.name)
	case o.old && o.op == "add" && (present || attributes[o.name] != nil):
		return cluster.Errorf(cluster.Conflict, "Property %s already present.", o.name)
	case o.op != "add" && !present && !isAttribute(o.name) && o.name != "locations" && !strings.HasPrefix(o.name, reserved):
		return cluster.Errorf(cluster.Conflict, "Property %s does not exist.", clip(o.name))
	case o.op != "remove":
		return e.set(o.name, o.value)
	case o.name == "locations" || strings.HasPrefix(o.name, reserved):
		return e.set(o.name, nil) // which refuses it
	}
	delete(e.image.Properties, o.name)
	return nil
}

// parsePatch reads the steps of a change.
func parsePatch(body json.RawMessage, old bool) ([]operation, error) {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) != nil {
		return nil, cluster.Errorf(cluster.Invalid, "Request body must be a JSON array of operation objects.")
	}
	if len(list) > maxPatch {
		return nil, cluster.Errorf(cluster.TooLarge, "Request body has more than %d operations.", maxPatch)
	}
	operations := make([]operation, 0, len(list))
	for _, raw := range list {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil || members == nil {
			return nil, cluster.Errorf(cluster.Invalid, "Operations must be JSON objects.")
		}
		o, err := parseOperation(members, old)
		if err != nil {
			return nil, err
		}
		operations = append(operations, o)
	}
	return operations, nil
}

func parseOperation(members map[string]json.RawMessage, old bool) (operation, error) {
	o := operation{old: old}
	var pointer string
	if old {
		for _, op := range []string{"add", "replace", "remove"} {
			raw, ok := members[op]
			if !ok {
				continue
			}
			if o.op != "" || json.Unmarshal(raw, &pointer) != nil {
				return o, cluster.Errorf(cluster.Invalid, "Operation objects must contain exactly one member named \"add\", \"remove\", or \"replace\".")
			}
			o.op = op
		}
		if o.op == "" {
			return o, cluster.Errorf(cluster.Invalid, "Operation objects must contain exactly one member named \"add\", \"remove\", or \"replace\".")
		}
	} else {
		if json.Unmarshal(members["op"], &o.op) != nil || o.op != "add" && o.op != "replace" && o.op != "remove" {
			return o, cluster.Errorf(cluster.Invalid, "Invalid operation: `%s`. It must be one of the following: add, remove, replace.", clip(o.op))
		}
		if json.Unmarshal(members["path"], &pointer) != nil {
			return o, cluster.Errorf(cluster.Invalid, "Unable to find '%s' in JSON Schema change", "path")
		}
	}
	var err error
	if o.name, err = parsePointer(pointer); err != nil {
		return o, err
	}
	value, ok := members["value"]
	if o.op != "remove" && !ok {
		return o, cluster.Errorf(cluster.Invalid, "Operation \"%s\" requires a member named \"value\".", o.op)
	}
	o.value = value
	return o, nil
}

var badEscape = regexp.MustCompile(`~[^01]|~$`)

// parsePointer reads a JSON pointer (RFC 6901) to a member of an image.
func parsePointer(p string) (string, error) {
	name, ok := strings.CutPrefix(p, "/")
	switch {
	case !ok:
		return "", cluster.Errorf(cluster.Invalid, "Pointer `%s` does not start with \"/\".", clip(p))
	case strings.Contains(p, "//"):
		return "", cluster.Errorf(cluster.Invalid, "Pointer `%s` contains adjacent \"/\".", clip(p))
	case name == "" || strings.HasSuffix(name, "/"):
		return "", cluster.Errorf(cluster.Invalid, "Pointer `%s` ends with \"/\".", clip(p))
	case badEscape.MatchString(name):
		return "", cluster.Errorf(cluster.Invalid, "Pointer `%s` contains \"~\" not part of a recognized escape sequence.", clip(p))
	case strings.HasPrefix(name, "locations/"):
		return "locations", nil
	case strings.Contains(name, "/"):
		return "", cluster.Errorf(cluster.Invalid, "Invalid JSON pointer for this resource: '%s'", clip(p))
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(name), nil
}
