package image

import (
	"net/http"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// reserved begins the names of properties that are the service's own: clients neither see nor set them.
const reserved = "os_glance_"

// render gives an image as clients see it: its properties stand beside its attributes.
func render(i *cluster.Image) map[string]any {
	self := imagePath(i.ID)
	out := map[string]any{}
	for name, value := range i.Properties {
		if !strings.HasPrefix(name, reserved) {
			out[name] = value
		}
	}
	for name, value := range map[string]any{
		"id": i.ID, "name": rest.OrNull(i.Name), "status": i.Status, "visibility": i.Visibility, "owner": rest.OrNull(string(i.Owner)),
		"disk_format": rest.OrNull(i.Format.Disk), "container_format": rest.OrNull(i.Format.Container),
		"min_disk": i.Format.MinDiskGiB, "min_ram": i.Format.MinRAMMiB,
		"protected": i.Protected, "os_hidden": i.Hidden, "tags": append([]string{}, i.Tags...),
		"size": nil, "virtual_size": nil, "checksum": nil, "os_hash_algo": nil, "os_hash_value": nil,
		"created_at": rest.Nova(i.Created), "updated_at": rest.Nova(i.Updated),
		"self": self, "file": self + "/file", "schema": "/v2/schemas/image",
	} {
		out[name] = value
	}
	if d := i.Content(); d != nil {
		out["size"], out["checksum"], out["os_hash_algo"], out["os_hash_value"] = d.Size, d.MD5, "sha512", d.SHA512
		if d.VirtualSize > 0 {
			out["virtual_size"] = d.VirtualSize
		}
	}
	return out
}

// imagePath is an image's address, as Glance gives it: clients put the service's own in front.
func imagePath(id cluster.ImageID) string { return "/v2/images/" + string(id) }

func (s *server) show(w http.ResponseWriter, r *http.Request) error {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return err
	}
	i, err := find(r, view)
	if err != nil {
		return err
	}
	rest.Reply(w, http.StatusOK, render(i))
	return nil
}
