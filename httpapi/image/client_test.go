package image

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/members"

	"github.com/kilonova/kilonova/cluster"
)

// client is gophercloud with somebody's token.
func (c *cloud) client(token string) *gophercloud.ServiceClient {
	srv := httptest.NewServer(c.handler)
	c.t.Cleanup(srv.Close)
	provider := &gophercloud.ProviderClient{TokenID: token}
	return &gophercloud.ServiceClient{ProviderClient: provider, Type: "image", Endpoint: srv.URL + Path + "/v2/"}
}

// Gophercloud, as Terraform uses it, makes an image, fills it, changes it, shares it, finds it over several pages, and
// removes it.
func TestGophercloud_LifeOfAnImage(t *testing.T) {
	c := newCloud(t)
	ctx, demo, other := t.Context(), c.client("demo"), c.client("other")
	i, err := images.Create(ctx, demo, images.CreateOpts{
		Name: "debian", DiskFormat: "raw", ContainerFormat: "bare", Tags: []string{"stable"}, MinDisk: 2, Properties: map[string]string{"os_distro": "debian"},
	}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if err := imagedata.Upload(ctx, demo, i.ID, strings.NewReader("bytes")).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	i, err = images.Update(ctx, demo, i.ID, images.UpdateOpts{
		images.ReplaceImageName{NewName: "debian-13"}, images.ReplaceImageTags{NewTags: []string{"testing"}},
		images.UpdateImageProperty{Op: images.AddOp, Name: "hw_disk_bus", Value: "scsi"},
		images.UpdateImageProperty{Op: images.RemoveOp, Name: "os_distro"},
	}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if i.Name != "debian-13" || i.Status != images.ImageStatusActive || i.SizeBytes != 5 || i.Properties["hw_disk_bus"] != "scsi" || i.Properties["os_distro"] != nil {
		t.Errorf("image: %+v", i)
	}
	if _, err := members.Create(ctx, demo, i.ID, string(c.Projs["other"])).Extract(); err != nil {
		t.Fatal(err)
	}
	if _, err := members.Update(ctx, other, i.ID, string(c.Projs["other"]), members.UpdateOpts{Status: "accepted"}).Extract(); err != nil {
		t.Fatal(err)
	}
	r, err := imagedata.Download(ctx, other, i.ID).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "bytes" || err != nil {
		t.Errorf("downloaded %q, %v", b, err)
	}
	for range 5 {
		c.queued("demo", `{"name":"more"}`)
	}
	pages, err := images.List(demo, images.ListOpts{Limit: 2, Sort: "name:asc"}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := images.ExtractImages(pages); err != nil || len(all) != 6 || all[0].ID != i.ID {
		t.Errorf("listed %d images, %v", len(all), err)
	}
	if err := images.Delete(ctx, demo, i.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	if _, ok := c.Local().Image(cluster.ImageID(i.ID)); ok {
		t.Error("the image is still there")
	}
}
