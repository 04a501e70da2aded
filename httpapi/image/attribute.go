package image

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The bounds of what clients may set: those of Glance's schema and the defaults of its quotas.
const (
	maxText       = 255
	maxValue      = 64 << 10 // characters of a property's value
	maxNumber     = 1<<31 - 1
	maxTags       = 128
	maxProperties = 128
	maxMembers    = 128
	maxShown      = 100 // characters of a bad value that its refusal repeats
)

var (
	diskFormats      = []string{"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
	containerFormats = []string{"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"}
	visibilities     = []string{"community", "public", "private", "shared"}
)

// readOnly attributes are the service's to set.
var readOnly = []string{
	"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url", "self", "file", "schema", "stores",
	"os_hash_algo", "os_hash_value",
}

// edit is a change of attributes by a caller.
type edit struct {
	image  *cluster.Image // changed in place
	caller *rest.Caller
	isNew  bool
}

// attributes are what clients may set. Any other name is a property.
var attributes = map[string]func(*edit, json.RawMessage) error{
	"name":        func(e *edit, v json.RawMessage) error { return text(v, &e.image.Name) },
	"owner":       (*edit).setOwner,
	"visibility":  (*edit).setVisibility,
	"protected":   func(e *edit, v json.RawMessage) error { return flag(v, &e.image.Protected) },
	"os_hidden":   func(e *edit, v json.RawMessage) error { return flag(v, &e.image.Hidden) },
	"min_disk":    func(e *edit, v json.RawMessage) error { return number(v, &e.image.Format.MinDiskGiB) },
	"min_ram":     func(e *edit, v json.RawMessage) error { return number(v, &e.image.Format.MinRAMMiB) },
	"disk_format": func(e *edit, v json.RawMessage) error { return oneOfOrNull(v, diskFormats, &e.image.Format.Disk) },
	"container_format": func(e *edit, v json.RawMessage) error {
		return oneOfOrNull(v, containerFormats, &e.image.Format.Container)
	},
	"tags": (*edit).setTags,
}

// isAttribute tells an attribute from a property.
func isAttribute(name string) bool {
	_, ok := attributes[name]
	return ok || name == "id" || slices.Contains(readOnly, name)
}

// set changes one attribute or property.
func (e *edit) set(name string, value json.RawMessage) error {
	switch {
	case name == "id" && e.isNew:
		return e.setID(value)
	case name == "id" || slices.Contains(readOnly, name):
		return cluster.Errorf(cluster.Forbidden, "Attribute '%s' is read-only.", name)
	case name == "locations":
		return cluster.Errorf(cluster.Forbidden, "It's not allowed to update locations if locations are invisible.")
	case name == "location", name == "deleted", name == "deleted_at", strings.HasPrefix(name, reserved):
		return cluster.Errorf(cluster.Forbidden, "Attribute '%s' is reserved.", name)
	}
	if set, ok := attributes[name]; ok {
		return set(e, value)
	}
	return e.setProperty(name, value)
}

func (e *edit) setID(v json.RawMessage) error {
	var s string
	if err := text(v, &s); err != nil {
		return err
	}
	id, ok := rest.CanonicalUUID(s)
	if !ok || len(s) != len(id) {
		return mismatch("%s does not match the pattern of a UUID", shown(v))
	}
	e.image.ID = cluster.ImageID(id)
	return nil
}

func (e *edit) setOwner(v json.RawMessage) error {
	var s string
	if err := text(v, &s); err != nil {
		return err
	}
	owner := cluster.ProjectID(s)
	if owner != e.image.Owner && !e.caller.Admin() {
		if e.isNew {
			return cluster.Errorf(cluster.Forbidden, "You are not permitted to create images owned by '%s'.", clip(s))
		}
		return denied("modify_image")
	}
	e.image.Owner = owner
	return nil
}

func (e *edit) setVisibility(v json.RawMessage) error {
	var s string
	if isNull(v) {
		return mismatch("None is not of type 'string'")
	}
	if err := oneOfOrNull(v, visibilities, &s); err != nil {
		return err
	}
	to := cluster.Visibility(s)
	if to == cluster.Public && e.image.Visibility != cluster.Public && !e.caller.Admin() {
		return denied("publicize_image")
	}
	e.image.Visibility = to
	return nil
}

func (e *edit) setTags(v json.RawMessage) error {
	var tags []string
	if isNull(v) || json.Unmarshal(v, &tags) != nil {
		return mismatch("%s is not of type 'array' of strings", shown(v))
	}
	e.image.Tags = nil
	for _, t := range tags {
		if err := rest.CheckText("tags", t, 0, maxText); err != nil {
			return err
		}
		if !slices.Contains(e.image.Tags, t) {
			e.image.Tags = append(e.image.Tags, t)
		}
	}
	return nil
}

func (e *edit) setProperty(name string, v json.RawMessage) error {
	if err := rest.CheckText("property", name, 1, maxText); err != nil {
		return err
	}
	reference := name == "kernel_id" || name == "ramdisk_id"
	if reference && isNull(v) {
		delete(e.image.Properties, name)
		return nil
	}
	var s string
	if isNull(v) || json.Unmarshal(v, &s) != nil {
		return mismatch("%s is not of type 'string'", shown(v))
	}
	if reference && !rest.IsUUID(s) {
		return mismatch("%s does not match the pattern of a UUID", shown(v))
	}
	if err := rest.CheckText(name, s, 0, maxValue); err != nil {
		return err
	}
	if e.image.Properties == nil {
		e.image.Properties = map[string]string{}
	}
	e.image.Properties[name] = s
	return nil
}

// check judges an image as a whole.
func (e *edit) check() error {
	properties := 0
	for name := range e.image.Properties {
		if !strings.HasPrefix(name, reserved) {
			properties++
		}
	}
	switch {
	case len(e.image.Tags) > maxTags:
		return exceeded("image tags", len(e.image.Tags), maxTags)
	case properties > maxProperties:
		return exceeded("image properties", properties, maxProperties)
	}
	return nil
}

func exceeded(what string, n, most int) error {
	return cluster.Errorf(cluster.TooLarge, "The limit has been exceeded on the number of allowed %s. Attempted: %d, Maximum: %d", what, n, most)
}

// mismatch is the refusal of a value that Glance's schema does not allow.
func mismatch(format string, args ...any) error {
	return cluster.Errorf(cluster.Invalid, "Provided object does not match schema 'image': "+format, args...)
}

func isNull(v json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(v), []byte("null")) }

// shown is a value as Glance's messages write it.
func shown(v json.RawMessage) string {
	var s string
	switch err := json.Unmarshal(v, &s); {
	case isNull(v):
		return "None"
	case err == nil:
		return "'" + clip(s) + "'"
	}
	return clip(string(v))
}

func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	return string([]rune(s)[:maxShown]) + "..."
}

// text reads a text of up to maxText characters; null is the empty one.
func text(v json.RawMessage, into *string) error {
	var s *string
	if err := json.Unmarshal(v, &s); err != nil {
		return mismatch("%s is not of type 'null', 'string'", shown(v))
	}
	*into = ""
	if s == nil {
		return nil
	}
	if n := utf8.RuneCountInString(*s); n > maxText {
		return mismatch("%s is too long", shown(v))
	}
	if err := rest.CheckText("value", *s, 0, maxText); err != nil {
		return err
	}
	*into = *s
	return nil
}

func flag(v json.RawMessage, into *bool) error {
	if isNull(v) || json.Unmarshal(v, into) != nil {
		return mismatch("%s is not of type 'boolean'", shown(v))
	}
	return nil
}

func number(v json.RawMessage, into *int64) error {
	var n int64
	if isNull(v) || json.Unmarshal(v, &n) != nil {
		return mismatch("%s is not of type 'integer'", shown(v))
	}
	if n < 0 || n > maxNumber {
		return mismatch("%d is not between 0 and %d", n, maxNumber)
	}
	*into = n
	return nil
}

func oneOfOrNull(v json.RawMessage, allowed []string, into *string) error {
	var s *string
	err := json.Unmarshal(v, &s)
	switch {
	case err == nil && s == nil:
		*into = ""
		return nil
	case err != nil || !slices.Contains(allowed, *s):
		return mismatch("%s is not one of [None, '%s']", shown(v), strings.Join(allowed, "', '"))
	}
	*into = *s
	return nil
}

// lacks says what an image has to be given before bytes can be uploaded.
func lacks(i *cluster.Image) error {
	var names []string
	if i.Format.Disk == "" {
		names = append(names, "disk_format")
	}
	if i.Format.Container == "" {
		names = append(names, "container_format")
	}
	if len(names) == 0 {
		return nil
	}
	return cluster.Errorf(cluster.Invalid, "Properties %s must be set prior to saving data.", strings.Join(names, ", "))
}
