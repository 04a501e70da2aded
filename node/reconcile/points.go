package reconcile

import "github.com/kilonova/kilonova/virt"

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
