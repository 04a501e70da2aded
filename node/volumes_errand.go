package node

import (
	"context"
	"errors"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// errandKind says what is to be done to a file.
type errandKind string

const (
	makeVolume     errandKind = "make volume"
	growVolume     errandKind = "grow volume"
	uploadVolume   errandKind = "upload volume"
	removeVolume   errandKind = "remove volume"
	makeSnapshot   errandKind = "make snapshot"
	removeSnapshot errandKind = "remove snapshot"
)

// errand is one thing that the state asks of this node. It is comparable: another generation is another errand.
type errand struct {
	kind       errandKind
	id         string // of a volume or snapshot
	generation uint64
}

// errands lists what the state asks of a node, one for each volume and snapshot at most. It is pure.
func errands(view *cluster.View, self cluster.NodeID) []errand {
	var all []errand
	for v := range view.VolumesOn(self) {
		if kind := dueVolume(view, v); kind != "" {
			all = append(all, errand{kind, string(v.ID), v.Generation})
		}
	}
	for n := range view.SnapshotsOn(self) {
		if kind := dueSnapshot(view, n); kind != "" {
			all = append(all, errand{kind, string(n.ID), n.Generation})
		}
	}
	return all
}

// dueVolume tells what is to be done to a volume; "": nothing.
func dueVolume(view *cluster.View, v *cluster.Volume) errandKind {
	switch {
	case v.File.Remove:
		if v.Status == cluster.VolumeDeleting && !view.VolumeCopied(v.ID) {
			return removeVolume
		}
	case v.Status == cluster.VolumeError:
	case v.File.SizeGiB == 0:
		return makeVolume
	case v.File.SizeGiB < v.SizeGiB:
		if v.Status != cluster.VolumeErrorExtending {
			return growVolume
		}
	case v.Upload != nil:
		return uploadVolume
	}
	return ""
}

func dueSnapshot(view *cluster.View, n *cluster.VolumeSnapshot) errandKind {
	switch {
	case n.File.Remove:
		if n.Status == cluster.SnapshotDeleting && !view.SnapshotCopied(n.ID) {
			return removeSnapshot
		}
	case n.File.Format == "" && n.Status == cluster.SnapshotCreating:
		return makeSnapshot
	}
	return ""
}

// failed is the report that an errand could not be done.
func (e errand) failed(why string) cluster.ReportVolumes {
	switch e.kind {
	case makeSnapshot, removeSnapshot:
		return cluster.ReportVolumes{Snapshots: []cluster.SnapshotReport{{ID: cluster.SnapshotID(e.id), Generation: e.generation, Error: why}}}
	}
	return cluster.ReportVolumes{Volumes: []cluster.VolumeReport{{
		ID: cluster.VolumeID(e.id), Generation: e.generation, Error: why, Uploaded: e.kind == uploadVolume,
	}}}
}

// unsure tells whether an error says nothing about what was asked, only that somebody did not answer.
func unsure(err error) bool {
	return errors.Is(err, virt.ErrUnavailable) || errors.Is(err, failpoint.ErrHit) || errors.Is(err, context.DeadlineExceeded) || cluster.CodeOf(err) == cluster.Unavailable
}

// errNotAsked ends an errand quietly: the state asks for something else by now.
var errNotAsked = errors.New("the cluster decided otherwise meanwhile")

// carryOut does what the state still asks for, as the cluster and not this node's memory says.
func (v *volumes) carryOut(ctx context.Context, what errand) error {
	view, err := v.cluster.Read(ctx)
	if err != nil {
		return err
	}
	switch what.kind {
	case makeSnapshot, removeSnapshot:
		n, ok := view.Snapshot(cluster.SnapshotID(what.id))
		if !ok || n.File.Node != v.self || n.Generation != what.generation || dueSnapshot(view, n) != what.kind {
			return nil
		}
		return v.onSnapshot(ctx, view, n, what.kind)
	}
	vol, ok := view.Volume(cluster.VolumeID(what.id))
	if !ok || vol.File.Node != v.self || vol.Generation != what.generation || dueVolume(view, vol) != what.kind {
		return nil
	}
	r := cluster.VolumeReport{ID: vol.ID, Generation: vol.Generation}
	ctx = withinVolume(ctx, view, vol)
	if err := failpoint.Hit(ctx, volumePoint(what.kind, "before")); err != nil {
		return err
	}
	switch what.kind {
	case makeVolume:
		err, r.SizeGiB = v.make(ctx, view, vol), vol.SizeGiB
	case growVolume:
		err, r.SizeGiB = v.grow(ctx, view, vol), vol.SizeGiB
	case uploadVolume:
		err, r.Uploaded = v.upload(ctx, vol), true
	case removeVolume:
		err, r.Gone = v.store.Remove(ctx, string(vol.ID), vol.Shared(), v.tenure(vol)), true
	}
	if errors.Is(err, errNotAsked) {
		return nil
	}
	if err == nil {
		err = failpoint.Hit(ctx, volumePoint(what.kind, "after"))
	}
	if err != nil {
		return err
	}
	v.log.Info(string(what.kind), "volume", vol.ID, "gib", vol.SizeGiB)
	return v.report(ctx, cluster.ReportVolumes{Volumes: []cluster.VolumeReport{r}})
}

func (v *volumes) onSnapshot(ctx context.Context, view *cluster.View, n *cluster.VolumeSnapshot, kind errandKind) error {
	r := cluster.SnapshotReport{ID: n.ID, Generation: n.Generation}
	if vol, ok := view.Volume(n.Volume); ok {
		ctx = withinVolume(ctx, view, vol)
	}
	err := failpoint.Hit(ctx, volumePoint(kind, "before"))
	if err != nil {
		return err
	}
	if kind == removeSnapshot {
		err, r.Gone = v.store.Remove(ctx, string(n.ID), n.Shared(), v.tenureOfSnapshot(n)), true
	} else {
		r.Format, err = v.snapshot(ctx, view, n)
	}
	if errors.Is(err, errNotAsked) {
		return nil
	}
	if err == nil {
		err = failpoint.Hit(ctx, volumePoint(kind, "after"))
	}
	if err != nil {
		return err
	}
	v.log.Info(string(kind), "snapshot", n.ID, "volume", n.Volume)
	return v.report(ctx, cluster.ReportVolumes{Snapshots: []cluster.SnapshotReport{r}})
}
