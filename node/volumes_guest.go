package node

import (
	"context"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/volume"
)

// maxSerial is how long a disk's serial number may be on virtio (OASIS virtio, block device): Nova cuts the volume's ID, too.
const maxSerial = 20

// guestVolumes tells the reconciler of the volumes of guests.
type guestVolumes struct{ store *volume.Store }

var _ reconcile.Volumes = guestVolumes{}

// Disks implements reconcile.Volumes.
func (g guestVolumes) Disks(view *cluster.View, in *cluster.Instance, node cluster.NodeID) ([]virt.Disk, error) {
	var disks []virt.Disk
	for v, a := range view.VolumesOf(in.ID) {
		if a.State == cluster.Detaching || hopeless(v, a) {
			continue
		}
		here := v.Shared() || v.File.Node == node
		if !here || v.File.SizeGiB == 0 || a.State == cluster.Attaching && view.VolumeCopied(v.ID) {
			return nil, cluster.Errorf(cluster.Unavailable, "volume %s is not ready on this node yet", v.ID)
		}
		path, err := g.store.Path(fileOf(v))
		if err != nil {
			return nil, err
		}
		disks = append(disks, virt.Disk{
			ID: virt.DiskID(v.ID), Serial: string(v.ID)[:min(len(v.ID), maxSerial)], Device: strings.TrimPrefix(a.Device, "/dev/"),
			Path: path, Format: "raw", Boot: a.Boot, ReadOnly: v.Traits.ReadOnly, Shared: v.Traits.Multiattach, Secret: v.Secret,
		})
	}
	return disks, nil
}

// hopeless tells whether a volume cannot be given to its instance, which does well without it.
func hopeless(v *cluster.Volume, a *cluster.Attachment) bool {
	return !a.Boot && v.Status == cluster.VolumeError && v.File.SizeGiB == 0
}

// watchGuests tells the state when the guests of this node have got the volumes that they are to get, and have let go of those that they
// are to lose. It looks only while there are such.
func (v *volumes) watchGuests(ctx context.Context) {
	for {
		view, changed := v.cluster.Latest()
		wait := changed
		if moving := v.moving(view); len(moving) > 0 {
			wait = nil
			if err := v.compare(ctx, view, moving); err != nil && ctx.Err() == nil {
				v.log.Warn("tell which volumes guests have", "err", err)
			}
		}
		pacing := time.NewTimer(attachedEvery)
		select {
		case <-pacing.C:
		case <-ctx.Done():
			pacing.Stop()
			return
		}
		if wait == nil {
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return
		}
	}
}

// moving are the instances of this node with a volume that they are getting or losing.
func (v *volumes) moving(view *cluster.View) []*cluster.Instance {
	var all []*cluster.Instance
	seen := map[cluster.InstanceID]bool{}
	for vol := range view.VolumesMoving() {
		for _, a := range vol.Attachments {
			if a.State == cluster.Attached || seen[a.Instance] {
				continue
			}
			seen[a.Instance] = true
			if in, ok := view.Instance(a.Instance); ok && in.Node == v.self && in.Wanted != cluster.WantDeleted {
				all = append(all, in)
			}
		}
	}
	return all
}

// compare holds what domains have against what was asked.
func (v *volumes) compare(ctx context.Context, view *cluster.View, moving []*cluster.Instance) error {
	bounded, cancel := context.WithTimeout(ctx, domainsTimeout)
	defer cancel()
	domains, err := v.driver.Domains(bounded)
	if err != nil {
		return err
	}
	found := map[cluster.InstanceID]virt.Domain{}
	for _, d := range domains {
		found[d.ID] = d
	}
	var r cluster.ReportVolumes
	for _, in := range moving {
		d, ok := found[in.ID]
		r.Attachments = append(r.Attachments, attachments(view, in, d, ok)...)
	}
	if len(r.Attachments) == 0 {
		return nil
	}
	err = comeBy(ctx, view, PointAttachments, r.Attachments)
	if err == nil {
		err = v.report(ctx, r)
	}
	if err == nil {
		err = comeBy(ctx, view, PointAttachmentsTold, r.Attachments)
	}
	return err
}

// attachments says what an instance's domain shows of its volumes. Only a domain of the present generation does: what is being built for
// an older one may still get the disk. It is pure.
func attachments(view *cluster.View, in *cluster.Instance, d virt.Domain, exists bool) []cluster.AttachmentReport {
	var all []cluster.AttachmentReport
	current := exists && d.Stamp.Epoch == in.Epoch && d.Stamp.Generation >= in.Generation
	has := map[string]bool{}
	for _, id := range strings.Split(d.Disks, ",") {
		has[id] = true
	}
	for v, a := range view.VolumesOf(in.ID) {
		r := cluster.AttachmentReport{Volume: v.ID, Instance: in.ID, Epoch: in.Epoch}
		switch {
		case hopeless(v, a):
			r.Error = "The volume could not be made: " + v.Fault
		case !current:
			continue
		case a.State == cluster.Attaching && has[string(v.ID)]:
			r.Attached = true
		case a.State == cluster.Detaching && !has[string(v.ID)]:
			r.Detached = true
		default:
			continue
		}
		all = append(all, r)
	}
	return all
}
