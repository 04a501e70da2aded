package compute

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Nova shows the images of the image service to clients from before it had a client of its own.
const (
	lastImages        version = 35
	lastImageMetadata version = 38
)

var imageRoutes = []route{
	{get, "/images", "os-image-proxy", anyone, 0, lastImages, func(c *call) error { return c.listImages(false) }},
	{get, "/images/detail", "os-image-proxy", anyone, 0, lastImages, func(c *call) error { return c.listImages(true) }},
	{get, "/images/{image}", "os-image-proxy", anyone, 0, lastImages, (*call).showImage},
	{del, "/images/{image}", "os-image-proxy", member, 0, lastImages, (*call).deleteImage},
	{get, "/images/{image}/metadata", "os-image-proxy", anyone, 0, lastImageMetadata, (*call).listImageMetadata},
	{post, "/images/{image}/metadata", "os-image-proxy", member, 0, lastImageMetadata, func(c *call) error { return c.setImageMetadata(false) }},
	{put, "/images/{image}/metadata", "os-image-proxy", member, 0, lastImageMetadata, func(c *call) error { return c.setImageMetadata(true) }},
	{get, "/images/{image}/metadata/{key}", "os-image-proxy", anyone, 0, lastImageMetadata, (*call).showImageMetadata},
	{put, "/images/{image}/metadata/{key}", "os-image-proxy", member, 0, lastImageMetadata, (*call).setOneImageMetadata},
	{del, "/images/{image}/metadata/{key}", "os-image-proxy", member, 0, lastImageMetadata, (*call).deleteImageMetadata},
}

// imageStatuses are Nova's words for the image service's, and how far an image of that status is, in per cent.
var imageStatuses = map[cluster.ImageStatus]struct {
	word     string
	progress int64
}{
	cluster.ImageActive: {"ACTIVE", 100}, cluster.ImageQueued: {"SAVING", 25}, cluster.ImageSaving: {"SAVING", 50}, cluster.ImageKilled: {"ERROR", 0},
}

func statusOfImage(i *cluster.Image) (word string, progress int64) {
	if s, ok := imageStatuses[i.Status]; ok {
		return s.word, s.progress
	}
	return "UNKNOWN", 0
}

// listsImage tells whether a listing shows an image to the caller. One of the community is shown only to who asks for it.
func (c *call) listsImage(i *cluster.Image) bool {
	switch {
	case i.Hidden:
		return false
	case i.Owner == c.caller.ProjectID(), i.Visibility == cluster.Public:
		return true
	case i.Visibility == cluster.Shared:
		return i.Members[string(c.caller.ProjectID())] == "accepted"
	}
	return false
}

func (c *call) listImages(detail bool) error {
	page, err := rest.ParsePage(c.r, true)
	if err != nil {
		return err
	}
	tests, err := c.imageTests()
	if err != nil {
		return err
	}
	var all []*cluster.Image
	for i := range c.view.Images() {
		if c.listsImage(i) && !slices.ContainsFunc(tests, func(test func(*cluster.Image) bool) bool { return !test(i) }) {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b *cluster.Image) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(b.ID, a.ID))
	})
	all, _, err = rest.Cut(all, page, func(i *cluster.Image) string { return string(i.ID) })
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("images").open('[')
	for _, i := range all {
		if detail {
			c.writeImage(&j, i)
			continue
		}
		j.open('{').field("id", string(i.ID)).field("name", i.Name)
		c.writeImageLinks(&j, i)
		j.close('}')
	}
	j.close(']')
	if len(all) > 0 && len(all) == page.Limit {
		c.writeNext(&j, "images_links", string(all[len(all)-1].ID))
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// imageTests reads the filters of a listing of images.
func (c *call) imageTests() ([]func(*cluster.Image) bool, error) {
	v := c.r.URL.Query()
	var tests []func(*cluster.Image) bool
	add := func(name string, get func(*cluster.Image) string) {
		if want := v.Get(name); want != "" {
			tests = append(tests, func(i *cluster.Image) bool { return get(i) == want })
		}
	}
	property := func(name string) func(*cluster.Image) string {
		return func(i *cluster.Image) string { return i.Properties[name] }
	}
	add("name", func(i *cluster.Image) string { return i.Name })
	add("type", property("image_type"))
	for name := range v {
		if p, ok := strings.CutPrefix(name, "property-"); ok {
			add(name, property(p))
		}
	}
	if status := strings.ToUpper(v.Get("status")); status != "" {
		tests = append(tests, func(i *cluster.Image) bool { word, _ := statusOfImage(i); return word == status })
	}
	if server := lastPart(v.Get("server")); server != "" {
		tests = append(tests, func(i *cluster.Image) bool { return i.Properties["instance_uuid"] == server })
	}
	if since := v.Get("changes-since"); since != "" {
		t, err := parseTime(since)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(i *cluster.Image) bool { return i.Updated >= t })
	}
	return tests, nil
}

// image finds the image that the path names, if the caller may use it.
func (c *call) image() (*cluster.Image, error) {
	id, _ := rest.CanonicalUUID(c.param("image"))
	i, ok := c.view.Image(cluster.ImageID(id))
	if !ok || !c.seesImage(i) {
		return nil, notFound("Image not found.")
	}
	return i, nil
}

// ownImage finds the image that the path names, if the caller may change it.
func (c *call) ownImage() (*cluster.Image, error) {
	i, err := c.image()
	if err == nil && !c.caller.Admin() && i.Owner != c.caller.ProjectID() {
		err = cluster.Errorf(cluster.Forbidden, "Not authorized for image %s.", i.ID)
	}
	return i, err
}

func (c *call) showImage() error {
	i, err := c.image()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("image")
	c.writeImage(&j, i)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) deleteImage() error {
	i, err := c.ownImage()
	if err != nil {
		return err
	}
	if _, err := c.change(&cluster.DeleteImage{ID: i.ID}); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

func (c *call) writeImage(j *writer, i *cluster.Image) {
	status, progress := statusOfImage(i)
	j.open('{').field("id", string(i.ID)).field("name", i.Name).fieldNum("minRam", i.Format.MinRAMMiB).fieldNum("minDisk", i.Format.MinDiskGiB)
	j.key("metadata").texts(i.Properties).key("created").seconds(i.Created).key("updated").seconds(i.Updated)
	j.field("status", status).fieldNum("progress", progress)
	size := int64(0) // also of one that has no bytes yet
	if i.Data != nil {
		size = i.Data.Size
	}
	j.fieldNum("OS-EXT-IMG-SIZE:size", size)
	if server := i.Properties["instance_uuid"]; server != "" {
		j.key("server").open('{').field("id", server).key("links").open('[')
		writeLink(j, "self", c.links.self+"/servers/"+escape(server))
		writeLink(j, "bookmark", c.links.bookmark+"/servers/"+escape(server))
		j.close(']').close('}')
	}
	c.writeImageLinks(j, i)
	j.close('}')
}

func (c *call) writeImageLinks(j *writer, i *cluster.Image) {
	path := "/images/" + string(i.ID)
	j.key("links").open('[')
	writeLink(j, "self", c.links.self+path)
	writeLink(j, "bookmark", c.links.bookmark+path)
	j.open('{').field("rel", "alternate").field("type", "application/vnd.openstack.image")
	j.field("href", rest.BaseURL(c.r)+"/image/v2"+path).close('}').close(']')
}
