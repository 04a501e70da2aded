package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
	"github.com/kilonova/kilonova/virt/volume"
)

// polled is a cloud in memory whose views are looked at often.
type polled struct{ *resttest.Cloud }

// Latest implements reconcile.Cluster.
func (p polled) Latest() (*cluster.View, <-chan struct{}) {
	changed := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { close(changed) })
	return p.Local(), changed
}

// noImages is an image service that is not needed.
type noImages struct{}

func (noImages) Base(cluster.BootImage) (path, format string, ok bool) { return "", "", false }

func (noImages) Prepare(context.Context, cluster.BootImage, func(string)) error {
	return errors.New("there are no images")
}

// volumeHost is one node with a simulated hypervisor, real files, and the loops that tend them.
type volumeHost struct {
	polled
	t    *testing.T
	dir  string
	sim  *sim.Driver
	vols *volumes
	stop func()
}

func newVolumeHost(t *testing.T) *volumeHost {
	t.Helper()
	for _, tool := range []string{"qemu-img", "prlimit"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	d, err := sim.New(sim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := &volumeHost{polled: polled{resttest.NewCloud(t)}, t: t, dir: t.TempDir(), sim: d}
	h.run()
	t.Cleanup(func() {
		h.stop()
		d.Close()
	})
	return h
}

// run starts the loops, or starts them again as a new daemon would.
func (h *volumeHost) run() {
	files, err := openVolumes(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h.vols = newVolumes(volumes{self: h.Node.ID, store: files, cluster: h.polled, driver: h.sim, images: noImages{}, log: log})
	loop := reconcile.New(reconcile.Config{Node: h.Node.ID, Cluster: h.polled, Driver: h.sim, Images: noImages{},
		Volumes: guestVolumes{files}, Log: log, Starts: 2, Incarnation: "b", LastKnown: "b"})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.vols.run(ctx) })
	wg.Go(func() { loop.Run(ctx) })
	h.stop = func() { cancel(); wg.Wait() }
}

// until waits for something to be so.
func (h *volumeHost) until(what string, so func(*cluster.View) bool) {
	h.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !so(h.Local()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("it never came to be that %s", what)
		}
	}
}

func (h *volumeHost) status(id cluster.VolumeID, want cluster.VolumeStatus) {
	h.t.Helper()
	h.until("volume "+string(id)+" is "+string(want), func(v *cluster.View) bool {
		vol, ok := v.Volume(id)
		return ok && vol.Status == want
	})
}

func (h *volumeHost) volume(source *cluster.VolumeSource) cluster.VolumeID {
	h.t.Helper()
	id := cluster.VolumeID(rest.NewUUID())
	h.Must(&cluster.CreateVolume{Volume: cluster.Volume{ID: id, Project: h.Projs["demo"], User: h.Users["demo"], SizeGiB: 1, Type: "local", Source: source}})
	return id
}

func (h *volumeHost) server(volumes ...cluster.NewVolume) cluster.InstanceID {
	h.t.Helper()
	id := cluster.InstanceID(rest.NewUUID())
	spec := cluster.Spec{Name: "vm", Flavor: cluster.Flavor{ID: "1", Name: "f", VCPUs: 1, MemoryMiB: 64, RxTxFactor: 1}}
	spec.Boot.Volume = len(volumes) > 0
	h.Must(&cluster.CreateInstances{Request: "req", Project: h.Projs["demo"], User: h.Users["demo"], Spec: spec,
		Items: []cluster.NewInstance{{ID: id, Name: "vm", Hostname: "vm", Node: h.Node.ID, Volumes: volumes,
			Explanation: &cluster.Explanation{Node: h.Node.ID}}}})
	h.until("the server runs", func(v *cluster.View) bool {
		in, ok := v.Instance(id)
		return ok && in.Status.VM == cluster.VMActive
	})
	return id
}

func (h *volumeHost) disks(id cluster.InstanceID) string {
	h.t.Helper()
	domains, err := h.sim.Domains(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, d := range domains {
		if d.ID == id {
			return d.Disks
		}
	}
	return "no domain"
}

func (h *volumeHost) file(id cluster.VolumeID) string {
	return filepath.Join(h.dir, "volumes", string(id), "disk")
}

// A volume goes the whole way: its file is made where the server runs, the guest gets it, it grows, is copied, and goes with its last byte
// only when it is deleted. In the middle the daemon dies and comes back.
func TestVolumes_GoTheWholeWay(t *testing.T) {
	h := newVolumeHost(t)
	in := h.server()
	v := h.volume(nil)
	h.Must(&cluster.AttachVolume{Volume: v, Attachment: cluster.Attachment{ID: "a1", Instance: in}})
	h.stop()
	h.run()
	h.status(v, cluster.VolumeInUse)
	if got := h.disks(in); got != string(v) {
		t.Errorf("the guest has %q", got)
	}
	if err := os.WriteFile(h.file(v), []byte("precious"), 0o600); err != nil { // cuts it short, as no guest could
		t.Fatal(err)
	}
	if err := os.Truncate(h.file(v), 1<<30); err != nil {
		t.Fatal(err)
	}
	h.Must(&cluster.ExtendVolume{ID: v, SizeGiB: 2, InUse: true})
	h.status(v, cluster.VolumeInUse)
	if info, err := os.Stat(h.file(v)); err != nil || info.Size() != 2<<30 || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
	h.Must(&cluster.DetachVolume{Volume: v, Instance: in})
	h.status(v, cluster.VolumeAvailable)
	if got := h.disks(in); got != "" {
		t.Errorf("the guest has %q", got)
	}
	c := cluster.VolumeID(rest.NewUUID())
	h.Must(&cluster.CreateVolume{Volume: cluster.Volume{ID: c, Project: h.Projs["demo"], User: h.Users["demo"], SizeGiB: 2, Type: "local",
		Source: &cluster.VolumeSource{Volume: v}}})
	h.status(c, cluster.VolumeAvailable)
	f, err := os.Open(h.file(c))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 8)
	if _, err := f.Read(b); err != nil || string(b) != "precious" {
		t.Errorf("the copy begins with %q, %v", b, err)
	}
	h.Must(&cluster.DeleteVolume{ID: v})
	h.until("the volume is gone", func(view *cluster.View) bool { _, there := view.Volume(v); return !there })
	if _, err := os.Stat(h.file(v)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file is there: %v", err)
	}
}

// A server boots from a volume that is made with it and goes with it.
func TestVolumes_ServersBootFromThem(t *testing.T) {
	h := newVolumeHost(t)
	boot := cluster.VolumeID(rest.NewUUID())
	in := h.server(cluster.NewVolume{New: &cluster.Volume{ID: boot, SizeGiB: 1, Type: "local"},
		Attachment: cluster.Attachment{ID: "a1", Boot: true, DeleteOnTermination: true}})
	h.status(boot, cluster.VolumeInUse)
	h.Must(&cluster.DeleteInstance{ID: in, Request: "req"})
	h.until("server and volume are gone", func(v *cluster.View) bool {
		_, server := v.Instance(in)
		_, disk := v.Volume(boot)
		return !server && !disk
	})
}

// The state asks for a volume whose original is gone. The user is told after a few attempts, and no server waits for it for ever.
func TestVolumes_WhatCannotBeMadeIsTold(t *testing.T) {
	h := newVolumeHost(t)
	in := h.server()
	h.Must(&cluster.PutImage{Image: cluster.Image{ID: "33333333-3333-4333-8333-333333333333", Owner: h.Projs["demo"], Name: "i", Status: cluster.ImageActive,
		Visibility: cluster.Private, Format: cluster.ImageFormat{Disk: "raw", Container: "bare"},
		Data: &cluster.ImageData{Root: cluster.Hash{9}, Size: 1, VirtualSize: 1}}})
	v := h.volume(&cluster.VolumeSource{Image: "33333333-3333-4333-8333-333333333333"})
	h.Must(&cluster.AttachVolume{Volume: v, Attachment: cluster.Attachment{ID: "a1", Instance: in}})
	h.status(v, cluster.VolumeError)
	h.until("the server is without it", func(view *cluster.View) bool {
		vol, _ := view.Volume(v)
		return len(vol.Attachments) == 0 && vol.Fault != ""
	})
}

// A domain that was built for an older generation may still get a disk. Nothing is said of it.
func TestAttachments_OnlyThePresentGenerationCounts(t *testing.T) {
	h := newVolumeHost(t)
	h.stop()
	in := cluster.InstanceID(rest.NewUUID())
	h.Must(&cluster.CreateInstances{Request: "req", Project: h.Projs["demo"], User: h.Users["demo"],
		Spec:  cluster.Spec{Name: "vm", Flavor: cluster.Flavor{ID: "1", Name: "f", VCPUs: 1, MemoryMiB: 64, RxTxFactor: 1}},
		Items: []cluster.NewInstance{{ID: in, Name: "vm", Hostname: "vm", Node: h.Node.ID, Explanation: &cluster.Explanation{Node: h.Node.ID}}}})
	v := h.volume(nil)
	h.Must(&cluster.AttachVolume{Volume: v, Attachment: cluster.Attachment{ID: "a1", Instance: in}})
	view := h.Local()
	rec, _ := view.Instance(in)
	d := virt.Domain{ID: in, Stamp: virt.Stamp{Epoch: rec.Epoch, Generation: rec.Generation - 1}, Disks: string(v)}
	if got := attachments(view, rec, d, true); len(got) != 0 {
		t.Errorf("an old domain says %+v", got)
	}
	d.Stamp.Generation++
	if got := attachments(view, rec, d, true); len(got) != 1 || !got[0].Attached {
		t.Errorf("the present domain says %+v", got)
	}
	if got := attachments(view, rec, virt.Domain{}, false); len(got) != 0 {
		t.Errorf("no domain says %+v", got)
	}
}

func openVolumes(dir string) (*volume.Store, error) { return volume.Open(dir, "", "c1") }

// A hypervisor that refuses a volume leaves the server well and the volume free, with the reason.
func TestVolumes_RefusedByTheHypervisorLeaveTheServerWell(t *testing.T) {
	h := newVolumeHost(t)
	in := h.server()
	h.sim.SetFault(sim.OpAttachDisk, sim.Fault{FailRate: 1})
	v := h.volume(nil)
	h.Must(&cluster.AttachVolume{Volume: v, Attachment: cluster.Attachment{ID: "a1", Instance: in}})
	h.status(v, cluster.VolumeAvailable)
	view := h.Local()
	if now, _ := view.Instance(in); now.Status.VM != cluster.VMActive {
		t.Errorf("the server is %+v", now.Status)
	}
	if vol, _ := view.Volume(v); vol.Fault == "" || len(vol.Attachments) > 0 {
		t.Errorf("the volume is %+v", vol)
	}
}
