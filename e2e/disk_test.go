package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	smallDiskMiB  = 128
	largeImageMiB = 160
)

// One node of four has a small disk. An image that does not fit there is refused by that node with a clear error and leaves nothing; uploaded
// elsewhere it is active, since three nodes have room. A server that is sent to the small node does not come to be, and says why. The node
// itself goes on: it agrees with the others, and runs what fits.
func TestFullDisk_OneNodeRefusesAndGoesOn(t *testing.T) {
	s := newSimStage(t, 3)
	small, err := s.AddHost(lab.HostOptions{DiskMiB: smallDiskMiB})
	s.must(err)
	s.must(s.Join(s.ctx, small))
	s.must(s.WaitEnabled(s.ctx))
	tiny := s.supply(s.Nodes[0])

	content := make([]byte, largeImageMiB<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	large := tiny
	large.image = s.newImage(small, "large")
	free := s.freeMiB(small)
	a, err := s.Ask(s.ctx, small, uploadOf(large.image, content))
	s.must(err)
	if a.Status != http.StatusRequestEntityTooLarge && a.Status != http.StatusServiceUnavailable || !strings.Contains(string(a.Body), "full") {
		t.Errorf("an upload to a node with a full disk: %d %s", a.Status, a.Body)
	}
	s.imageIs(large.image, "queued")
	s.eventually("the room is given back", memberLimit, func() error {
		if now := s.freeMiB(small); now+2 < free {
			return fmt.Errorf("%d MiB are free, there were %d", now, free)
		}
		return nil
	})
	s.must(s.upload(s.Nodes[0], large.image, content))
	s.imageIs(large.image, "active")

	refused := s.create(s.Nodes[1], large.createOn(small, "too large"))
	v := s.waitStatus(s.Nodes[1], refused, "ERROR", memberLimit)
	if !strings.Contains(v.Fault.Message+v.Fault.Details, "full") {
		t.Errorf("the server's fault is %+v; it should say that the disk is full", v.Fault)
	}
	fits := s.create(small, tiny.createOn(small, "fits"))
	s.waitStatus(small, fits, "ACTIVE", memberLimit)
	if err := s.hasStatus(small, "enabled", ""); err != nil {
		t.Error(err)
	}
}

// createOn asks for a server on one node, as an administrator may.
func (p supplies) createOn(n *cloud.Node, name string) cloud.Request {
	return cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": map[string]any{
		"name": name, "imageRef": p.image, "flavorRef": p.flavor, "networks": []any{map[string]string{"uuid": p.network}},
		"availability_zone": "nova:" + n.Name(),
	}}}
}

// freeMiB is what a host's disk has left.
func (s *stage) freeMiB(n *cloud.Node) uint64 {
	s.t.Helper()
	dir, err := n.Host.Path(n.Host.DataDir())
	s.must(err)
	var disk unix.Statfs_t
	s.must(unix.Statfs(dir, &disk))
	return disk.Bavail * uint64(disk.Bsize) >> 20
}

// imageIs compares an image's status.
func (s *stage) imageIs(id, want string) {
	s.t.Helper()
	var image struct{ Status string }
	s.must(s.Get(s.ctx, s.Nodes[0], "/image/v2/images/"+id, &image))
	if image.Status != want {
		s.t.Fatalf("image %s is %s, want %s", id, image.Status, want)
	}
}
