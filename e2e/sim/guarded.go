package sim

import (
	"context"
	"path/filepath"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// stewardEvery is how often a node looks at volumes when nothing changes, and stewardPause how soon again when much does.
const (
	stewardEvery = 5 * time.Second
	stewardPause = 200 * time.Millisecond
)

// guard makes an order for instances one for those that are started elsewhere when their node dies: they boot from a volume in the shared directory.
func guard(op *cluster.CreateInstances, draw func(i int) uint64) *cluster.CreateInstances {
	op.Spec.Image, op.Spec.Boot.Volume = "", true
	op.Spec.Metadata = map[string]string{cluster.KeyHA: "true"}
	for i := range op.Items {
		n := draw(i)
		op.Items[i].Volumes = []cluster.NewVolume{{
			New: &cluster.Volume{ID: cluster.VolumeID(uuid(6, n)), Project: someProject, User: someUser, Name: op.Items[i].Name, SizeGiB: 1,
				Type: cluster.BackendShared},
			Attachment: cluster.Attachment{ID: cluster.AttachmentID(uuid(7, n)), Boot: true, DeleteOnTermination: true},
		}}
	}
	return op
}

// sharedFiles are the volumes in the directory that all machines have. What they hold is not looked at. It implements reconcile.Volumes.
type sharedFiles struct{ dir string }

// Disks implements reconcile.Volumes.
func (f sharedFiles) Disks(view *cluster.View, in *cluster.Instance, _ cluster.NodeID) (disks []virt.Disk, err error) {
	for v, a := range view.VolumesOf(in.ID) {
		if v.File.SizeGiB == 0 {
			return nil, cluster.Errorf(cluster.Unavailable, "volume %s is not ready yet", v.ID)
		}
		disks = append(disks, virt.Disk{ID: virt.DiskID(v.ID), Device: "vda", Path: filepath.Join(f.dir, string(v.ID)), Format: "raw", Boot: a.Boot})
	}
	return disks, nil
}

// tendVolumes makes and removes the files that the state asks of this node.
func (d *daemon) tendVolumes(ctx context.Context) {
	a := &access{w: d.machine.w, d: d}
	for {
		view, changed := d.replica.latest()
		r := stewardship(view, d.machine.id)
		r.Attachments = d.plugged(view)
		if len(r.Volumes)+len(r.Attachments) > 0 {
			_, _ = a.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: r}) // else the next look does
		}
		if !pause(ctx, stewardPause) {
			return
		}
		timer := time.NewTimer(stewardEvery)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// plugged tells which guests have got the volumes that they were to get.
func (d *daemon) plugged(view *cluster.View) (all []cluster.AttachmentReport) {
	for v := range view.VolumesMoving() {
		for _, a := range v.Attachments {
			in, ok := view.Instance(a.Instance)
			if !ok || in.Node != d.machine.id || a.State != cluster.Attaching {
				continue
			}
			h, _ := d.machine.driver.Look(in.ID)
			if s := h.Domain.Stamp; h.Defined && s.Epoch == in.Epoch && s.Generation >= in.Generation {
				all = append(all, cluster.AttachmentReport{Volume: v.ID, Instance: in.ID, Epoch: in.Epoch, Attached: true})
			}
		}
	}
	return all
}

// stewardship is what a node has to say of its volumes: each file is made, or gone, as soon as that is asked.
func stewardship(view *cluster.View, node cluster.NodeID) *cluster.ReportVolumes {
	r := &cluster.ReportVolumes{Node: node}
	for v := range view.VolumesOn(node) {
		said := cluster.VolumeReport{ID: v.ID, Generation: v.Generation}
		switch {
		case v.File.Remove && v.Status == cluster.VolumeDeleting:
			said.Gone = true
		case !v.File.Remove && v.File.SizeGiB < v.SizeGiB:
			said.SizeGiB = v.SizeGiB
		default:
			continue
		}
		r.Volumes = append(r.Volumes, said)
	}
	return r
}
