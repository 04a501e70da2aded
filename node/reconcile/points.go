package reconcile

import (
	"context"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// The failpoints (package node/failpoint) of this package, besides those before and after each action.
const (
	PointReport   = "reconcile/report/before" // something is to be told
	PointReported = "reconcile/report/after"  // the state has it
)

// Points lists all failpoints of this package.
func Points() []string {
	all := []string{PointReport, PointReported}
	for _, k := range []virt.ActionKind{
		virt.ActionBuild, virt.ActionStart, virt.ActionStop, virt.ActionPause, virt.ActionUnpause, virt.ActionSave, virt.ActionRemove,
		virt.ActionRemoveDisks, virt.ActionRefresh,
	} {
		all = append(all, pointBefore(k), pointAfter(k))
	}
	return all
}

func pointBefore(k virt.ActionKind) string { return "reconcile/" + string(k) + "/before" }
func pointAfter(k virt.ActionKind) string  { return "reconcile/" + string(k) + "/after" }

// within gives the places their scopes: the instance's ID, and its name, which a test knows before there is an ID. A nil in is one
// that the state does not have.
func within(ctx context.Context, id cluster.InstanceID, in *cluster.Instance) context.Context {
	if in == nil {
		return failpoint.Within(ctx, string(id))
	}
	return failpoint.Within(ctx, string(id), in.Spec.Name)
}

// comesBy comes by a place for the sake of everything that is reported.
func (o *outbox) comesBy(ctx context.Context, point string, reports []cluster.InstanceReport) error {
	if !failpoint.Armed() {
		return nil
	}
	view, _ := o.cluster.Latest()
	for _, r := range reports {
		in, _ := view.Instance(r.ID)
		if err := failpoint.Hit(within(ctx, r.ID, in), point); err != nil {
			return err
		}
	}
	return nil
}
