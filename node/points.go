package node

import (
	"context"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
)

// The failpoints (package node/failpoint) of this package, besides those before and after each piece of work on a volume.
const (
	PointCommitted       = "propose/committed"          // at the leader: a command is committed, and whoever proposed it was not told
	PointAttachments     = "volumes/attachments/before" // what guests have got or let go of is to be told
	PointAttachmentsTold = "volumes/attachments/after"  // the state has it
)

// Points lists all failpoints of this package.
func Points() []string {
	all := []string{PointCommitted, PointAttachments, PointAttachmentsTold}
	for _, k := range []errandKind{makeVolume, growVolume, uploadVolume, removeVolume, makeSnapshot, removeSnapshot} {
		all = append(all, volumePoint(k, "before"), volumePoint(k, "after"))
	}
	return all
}

// volumePoint is the place before a piece of work, or after it, when nobody was told yet.
func volumePoint(kind errandKind, when string) string {
	return "volumes/" + strings.ReplaceAll(string(kind), " ", "-") + "/" + when
}

// withinVolume gives the places their scopes: the volume's ID, and the IDs and names of the instances that have it.
func withinVolume(ctx context.Context, view *cluster.View, v *cluster.Volume) context.Context {
	if !failpoint.Armed() {
		return ctx
	}
	scopes := []string{string(v.ID)}
	for _, a := range v.Attachments {
		scopes = append(scopes, string(a.Instance))
		if in, ok := view.Instance(a.Instance); ok {
			scopes = append(scopes, in.Spec.Name)
		}
	}
	return failpoint.Within(ctx, scopes...)
}

// committed comes by the place behind a commit. Its error is what a leader that loses its power leaves whoever proposed with.
func committed(ctx context.Context, view *cluster.View, r cluster.Result) error {
	if !failpoint.Armed() {
		return nil
	}
	if err := failpoint.Hit(withinResult(ctx, view, r), PointCommitted); err != nil {
		return cluster.Errorf(cluster.Unavailable, "the answer was lost: %v", err)
	}
	return nil
}

// withinResult gives the places their scopes: what a command changed, by its IDs and, where it is an instance, its name.
func withinResult(ctx context.Context, view *cluster.View, r cluster.Result) context.Context {
	scopes := r.IDs
	for _, id := range r.IDs {
		if in, ok := view.Instance(cluster.InstanceID(id)); ok {
			scopes = append(scopes[:len(scopes):len(scopes)], in.Spec.Name)
		}
	}
	return failpoint.Within(ctx, scopes...)
}

// comeBy comes by a place for the sake of everything that is told of attachments.
func comeBy(ctx context.Context, view *cluster.View, point string, told []cluster.AttachmentReport) error {
	if !failpoint.Armed() {
		return nil
	}
	for _, a := range told {
		scopes := []string{string(a.Instance), string(a.Volume)}
		if in, ok := view.Instance(a.Instance); ok {
			scopes = append(scopes, in.Spec.Name)
		}
		if err := failpoint.Hit(failpoint.Within(ctx, scopes...), point); err != nil {
			return err
		}
	}
	return nil
}
