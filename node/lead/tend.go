package lead

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// tendAfter is how long the node that tends shared volumes may be silent before another one does what is to be done to them. Whether it
// is dead does not matter: whatever it does later comes to nothing.
const tendAfter = 30 * time.Second

// tend has somebody else do what silent nodes were to do in the shared directory.
func (l *Leader) tend(ctx context.Context, view *cluster.View) {
	hints := l.Hints()
	for n := range view.Nodes() {
		if !strands(n, hints[n.ID]) {
			continue
		}
		for _, op := range view.Stranded(n.ID, helpers(view, hints)) {
			l.patiently(ctx, "give shared volumes of the silent node "+n.Name+" to node "+string(op.To), func() error { return l.propose(ctx, op) })
		}
	}
}

// strands tells whether what a node was to do will not be done for a good while.
func strands(n *cluster.Node, h placement.Hint) bool {
	return n.Lost != nil || h.Silent && h.SilentFor >= tendAfter
}

// helpers are the nodes that answer and have the shared directory.
func helpers(view *cluster.View, hints map[cluster.NodeID]placement.Hint) []cluster.NodeID {
	var all []cluster.NodeID
	for n := range view.Nodes() {
		if !hints[n.ID].Silent && n.Lost == nil && n.Host.Ready && n.SharesVolumes() {
			all = append(all, n.ID)
		}
	}
	return all
}
