package node

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
	"github.com/kilonova/kilonova/virt/sim"
	"github.com/kilonova/kilonova/virt/volume"
)

// lonely is a cluster as a node sees it that is cut off at times: its view stays where it was, and nobody answers it.
type lonely struct {
	polled
	off    atomic.Bool
	frozen atomic.Pointer[cluster.View]
}

func (l *lonely) cut(off bool) {
	l.frozen.Store(l.Local())
	l.off.Store(off)
}

func (l *lonely) Latest() (*cluster.View, <-chan struct{}) {
	view, changed := l.polled.Latest()
	if l.off.Load() {
		view = l.frozen.Load()
	}
	return view, changed
}

func (l *lonely) Read(ctx context.Context) (*cluster.View, error) {
	if l.off.Load() {
		return nil, cluster.Errorf(cluster.Unavailable, "nobody answers")
	}
	return l.polled.Read(ctx)
}

func (l *lonely) Propose(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	if l.off.Load() {
		return cluster.Result{}, cluster.Errorf(cluster.Unavailable, "nobody answers")
	}
	return l.polled.Propose(ctx, c)
}

// slowImage is an image service with one image, which comes when it is let.
type slowImage struct {
	path    string
	let     chan struct{} // closed: the image is here
	waiting chan struct{} // gets something when somebody waits for it
}

func (s slowImage) Base(cluster.BootImage) (path, format string, ok bool) {
	select {
	case <-s.let:
		return s.path, "raw", true
	default:
		return "", "", false
	}
}

func (s slowImage) Prepare(ctx context.Context, _ cluster.BootImage, _ func(string)) error {
	select {
	case s.waiting <- struct{}{}:
	default:
	}
	select {
	case <-s.let:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tender runs the loop of a node that has the shared directory.
func tender(t *testing.T, self cluster.NodeID, c *lonely, shared string, images slowImage) {
	t.Helper()
	files, err := volume.Open(t.TempDir(), shared, "c1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := sim.New(sim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	v := newVolumes(volumes{self: self, store: files, cluster: c, driver: d, images: images, log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { v.run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		d.Close()
	})
}

// A node is making a volume in the shared directory, and waits for its image, when nobody hears of it any more. Another node is given the
// work and does it, and a guest writes. Then the first one gets its image; a while later it is back in the cluster. It has done nothing
// to the volume, nor does it now.
func TestVolumes_AreTakenOverFromASilentTender(t *testing.T) {
	for _, tool := range []string{"qemu-img", "prlimit"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	cloud := resttest.NewCloud(t)
	h := &volumeHost{polled: polled{cloud}, t: t}
	cloud.Node.Host.Traits = []string{cluster.TraitSharedVolumes}
	h.Must(&cluster.UpdateNode{Node: cloud.Node})
	other := cloud.Node.Clone()
	other.ID, other.Name, other.Address = cluster.NodeID(rest.NewUUID()), "node-2", "127.0.0.2"
	token := cluster.JoinToken{ID: "join", Hash: cluster.Hash{9}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}
	h.Must(&cluster.PutJoinToken{Token: token})
	h.Must(&cluster.EnrolNode{Token: token.ID, Secret: token.Hash, Node: *other})

	shared := t.TempDir()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, append([]byte("image"), make([]byte, 1<<20-5)...), 0o600); err != nil {
		t.Fatal(err)
	}
	late := slowImage{path: image, let: make(chan struct{}), waiting: make(chan struct{}, 1)}
	quick := slowImage{path: image, let: make(chan struct{})}
	close(quick.let)
	first, second := &lonely{polled: h.polled}, &lonely{polled: h.polled}
	tender(t, cloud.Node.ID, first, shared, late)
	tender(t, other.ID, second, shared, quick)

	const id cluster.ImageID = "33333333-3333-4333-8333-333333333333"
	h.Must(&cluster.PutImage{Image: cluster.Image{ID: id, Owner: h.Projs["demo"], Name: "i", Status: cluster.ImageActive,
		Visibility: cluster.Private, Format: cluster.ImageFormat{Disk: "raw", Container: "bare"},
		Data: &cluster.ImageData{Root: cluster.Hash{9}, Size: 1 << 20, VirtualSize: 1 << 20}}})
	v := cluster.VolumeID(rest.NewUUID())
	h.Must(&cluster.CreateVolume{Volume: cluster.Volume{ID: v, Project: h.Projs["demo"], User: h.Users["demo"], SizeGiB: 1, Type: "shared",
		Source: &cluster.VolumeSource{Image: id}}})
	h.Must(&cluster.UploadVolume{ID: v, Node: cloud.Node.ID, Image: cluster.Image{ID: "44444444-4444-4444-8444-444444444444", Owner: h.Projs["demo"],
		Name: "u", Status: cluster.ImageSaving, Visibility: cluster.Private, Format: cluster.ImageFormat{Disk: "raw", Container: "bare"}}})
	<-late.waiting
	h.Must(&cluster.UpdateVolume{ID: v, Status: cluster.VolumeCreating}) // the image of it is not needed any more, its file is
	first.cut(true)

	for _, o := range h.Local().Stranded(cloud.Node.ID, []cluster.NodeID{other.ID}) {
		h.Must(o)
	}
	path := filepath.Join(shared, "volumes", string(v), "disk")
	h.until("the other node made it", func(view *cluster.View) bool {
		vol, _ := view.Volume(v)
		return vol.File.SizeGiB == 1 && vol.File.Node == other.ID
	})
	if err := os.WriteFile(path, []byte("guest"), 0o600); err != nil {
		t.Fatal(err)
	}
	close(late.let)
	time.Sleep(3 * volumesPause)
	first.cut(false)
	time.Sleep(3 * volumesPause)
	if b, err := os.ReadFile(path); err != nil || string(b) != "guest" {
		t.Errorf("the volume holds %.20q, %v", b, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "work-"+string(cloud.Node.ID)) {
			t.Errorf("the old tender left %s", e.Name())
		}
	}
}
