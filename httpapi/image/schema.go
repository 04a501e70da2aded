package image

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

const uuidPattern = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"

// object is a JSON object of a schema (JSON Schema, draft 4, as Glance publishes it).
type object map[string]any

// about gives a schema of a type, with what it is for.
func about(description string, types any, more ...object) object {
	o := object{"type": types, "description": description}
	for _, m := range more {
		for k, v := range m {
			o[k] = v
		}
	}
	return o
}

var (
	orNull   = []string{"null", "string"}
	orNumber = []string{"null", "integer"}
	fixed    = object{"readOnly": true}
	extra    = object{"is_base": false}
)

func atMost(n int) object { return object{"maxLength": n} }

func enum(values []string, null bool) object {
	var list []any
	if null {
		list = append(list, nil)
	}
	for _, v := range values {
		list = append(list, v)
	}
	return object{"enum": list}
}

var imageProperties = object{
	"id":   about("Identifies the image", "string", object{"pattern": uuidPattern}),
	"name": about("What people call the image", orNull, atMost(maxText)),
	"status": about("Where the image is in its life", "string", fixed, enum([]string{
		"queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated"}, false)),
	"visibility":       about("Who sees the image", "string", enum(visibilities, false)),
	"protected":        about("Whether the image refuses to be deleted", "boolean"),
	"os_hidden":        about("Whether lists leave the image out", "boolean"),
	"checksum":         about("MD5 of the image's bytes", orNull, fixed, atMost(32)),
	"os_hash_algo":     about("How os_hash_value was made", orNull, fixed, atMost(64)),
	"os_hash_value":    about("Digest of the image's bytes, in hexadecimal", orNull, fixed, atMost(128)),
	"owner":            about("The project that the image belongs to", orNull, atMost(maxText)),
	"size":             about("Bytes of the image", orNumber, fixed),
	"virtual_size":     about("Bytes of the disk that the image holds", orNumber, fixed),
	"container_format": about("What the image is packed in", orNull, enum(containerFormats, true)),
	"disk_format":      about("The format of the image's bytes", orNull, enum(diskFormats, true)),
	"created_at":       about("When the record was made", "string", fixed),
	"updated_at":       about("When the record was last changed", "string", fixed),
	"tags":             about("Words to find the image by", "array", object{"items": object{"type": "string", "maxLength": maxText}}),
	"direct_url":       about("Not given: bytes come from the file address", "string", fixed),
	"min_ram":          about("MiB of memory that a server needs to boot the image", "integer"),
	"min_disk":         about("GiB of disk that a server needs to boot the image", "integer"),
	"self":             about("Address of the image", "string", fixed),
	"file":             about("Address of the image's bytes", "string", fixed),
	"stores":           about("Not given: there is one store", "string", fixed),
	"schema":           about("Address of this schema", "string", fixed),
	"locations": about("Not given, and not to be set", "array", object{"items": object{
		"type": "object", "required": []string{"url", "metadata"},
		"properties": object{"url": object{"type": "string", "maxLength": maxText}, "metadata": object{"type": "object"}},
	}}),
	"kernel_id":     about("The image with the kernel that servers boot", orNull, extra, object{"pattern": uuidPattern}),
	"ramdisk_id":    about("The image with the ramdisk that servers boot", orNull, extra, object{"pattern": uuidPattern}),
	"instance_uuid": about("The server that the image was made of", "string", extra),
	"architecture":  about("The processor that the image is for", "string", extra),
	"os_distro":     about("The distribution in the image", "string", extra),
	"os_version":    about("The version of that distribution", "string", extra),
	"description":   about("What the image is for", "string", extra),
}

var imageSchema = object{
	"name": "image", "properties": imageProperties, "additionalProperties": object{"type": "string"},
	"links": []object{{"rel": "self", "href": "{self}"}, {"rel": "enclosure", "href": "{file}"}, {"rel": "describedby", "href": "{schema}"}},
}

var memberSchema = object{
	"name": "member",
	"properties": object{
		"member_id":  about("The project that the image is shared with", "string"),
		"image_id":   about("The image that is shared", "string", object{"pattern": uuidPattern}),
		"created_at": about("When it was shared", "string"),
		"updated_at": about("When that was last changed", "string"),
		"status":     about("What the project thinks of it", "string", enum([]string{memberPending, memberAccepted, memberRejected}, false)),
		"schema":     object{"readOnly": true, "type": "string"},
	},
}

// listOf is the schema of a list of things.
func listOf(name string, item object, links ...object) object {
	properties := object{name: object{"type": "array", "items": item}, "schema": object{"type": "string"}}
	if len(links) > 1 {
		properties["first"], properties["next"] = object{"type": "string"}, object{"type": "string"}
	}
	return object{"name": name, "properties": properties, "links": links}
}

var schemas = map[string]object{
	"image": imageSchema,
	"images": listOf("images", imageSchema,
		object{"rel": "first", "href": "{first}"}, object{"rel": "next", "href": "{next}"}, object{"rel": "describedby", "href": "{schema}"}),
	"member":  memberSchema,
	"members": listOf("members", memberSchema, object{"rel": "describedby", "href": "{schema}"}),
}

func showSchema(w http.ResponseWriter, r *http.Request) error {
	schema, ok := schemas[rest.Param(r, "name")]
	if !ok {
		return cluster.Errorf(cluster.NotFound, "The resource could not be found.")
	}
	rest.Reply(w, http.StatusOK, schema)
	return nil
}

// importMethods says that there are none: bytes come by upload.
func importMethods(w http.ResponseWriter, _ *http.Request) error {
	rest.Reply(w, http.StatusOK, map[string]any{
		"import-methods": object{"description": "Import methods available.", "type": "array", "value": []string{}},
	})
	return nil
}

func noStores(http.ResponseWriter, *http.Request) error {
	return cluster.Errorf(cluster.NotFound, "Multi backend is not supported at this site.")
}
