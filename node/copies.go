package node

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/placement"
)

// How often the leader looks for images that are on too few nodes, and how long one copy may take.
const (
	copiesEvery = 5 * time.Second
	copyTimeout = time.Hour

	fewestCopies = 2 // that an image is active with when other nodes are silent
)

// copies keeps images on enough nodes. A new image is copied before it is active, by whoever took it in; what falls short
// later, because a node was removed or was away at the time, the leader makes up for.
type copies struct {
	self      cluster.NodeID
	agreement *agreement
	peers     *peer.Client
	hints     func() map[cluster.NodeID]placement.Hint
	log       *slog.Logger
}

// Replicate copies a blob that is on this node to as many others as an image needs, and returns all that have it. Nodes that are
// silent are made up for later, as long as two nodes have it now: one that is down for a day must not keep everybody from uploading.
func (c *copies) Replicate(ctx context.Context, root cluster.Hash) ([]cluster.NodeID, error) {
	view := c.agreement.Local()
	have := []cluster.NodeID{c.self}
	if self, ok := view.Node(c.self); ok && self.Witness {
		have = nil // it has the blob for as long as it takes others to fetch it
	}
	hints := c.hints()
	silent := 0
	for _, id := range c.candidates(view, hints, have) {
		if len(have) == wanted(view) {
			break
		}
		if hints[id].Silent {
			silent++
			continue
		}
		if err := c.peers.Pull(ctx, id, root, append(slices.Clone(have), c.self)); err != nil {
			c.log.Warn("copy a blob", "root", root, "to", id, "err", err)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		have = append(have, id)
	}
	if len(have) < max(1, wanted(view)-silent, min(wanted(view), fewestCopies)) {
		return nil, cluster.Errorf(cluster.Unavailable, "the image could be copied to %d of %d nodes only", len(have), wanted(view))
	}
	slices.Sort(have)
	return have, nil
}

// wanted is how many nodes an image needs in a cluster.
func wanted(view *cluster.View) int {
	n := 0
	for range view.Hypervisors() {
		n++
	}
	return min(n, wantedCopies)
}

// candidates are the nodes that can take a copy: those with the fewest bytes promised first, silent ones last.
func (c *copies) candidates(view *cluster.View, hints map[cluster.NodeID]placement.Hint, have []cluster.NodeID) []cluster.NodeID {
	var out []cluster.NodeID
	free := map[cluster.NodeID]int64{}
	for n := range view.Hypervisors() {
		if slices.Contains(have, n.ID) {
			continue
		}
		out = append(out, n.ID)
		free[n.ID] = n.Capacity.Limit().DiskGiB - view.Allocated(n.ID).DiskGiB
		if hints[n.ID].Silent || hints[n.ID].DiskFull {
			free[n.ID] -= 1 << 40
		}
	}
	slices.SortStableFunc(out, func(a, b cluster.NodeID) int {
		switch {
		case free[a] > free[b]:
			return -1
		case free[a] < free[b]:
			return 1
		}
		return 0
	})
	return out
}

// run looks for images on too few nodes until ctx ends.
func (c *copies) run(ctx context.Context) {
	for {
		view := c.agreement.Local()
		for img := range view.Images() {
			if img.Data != nil && img.Status == cluster.ImageActive {
				c.mend(ctx, view, img)
			}
		}
		if !pause(ctx, copiesEvery) {
			return
		}
	}
}

// mend adds one copy of an image that has too few on nodes that are there.
func (c *copies) mend(ctx context.Context, view *cluster.View, img *cluster.Image) {
	hints := c.hints()
	var alive []cluster.NodeID
	for _, id := range img.Data.Nodes {
		if _, ok := view.Node(id); ok && !hints[id].Silent {
			alive = append(alive, id)
		}
	}
	if len(alive) == 0 || len(alive) >= wanted(view) {
		return
	}
	for _, id := range c.candidates(view, hints, img.Data.Nodes) {
		if hints[id].Silent {
			return
		}
		pull, cancel := context.WithTimeout(ctx, copyTimeout)
		err := c.pull(pull, id, img.Data.Root, alive)
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			c.log.Warn("copy an image that is on too few nodes", "image", img.ID, "to", id, "err", err)
			continue
		}
		op := &cluster.AddImageNode{ID: img.ID, Root: img.Data.Root, Node: id}
		if _, err := c.agreement.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op}); err != nil {
			c.log.Warn("record a copy of an image", "image", img.ID, "on", id, "err", err)
			return
		}
		c.log.Info("copied an image", "image", img.ID, "to", id)
		return
	}
}

func (c *copies) pull(ctx context.Context, to cluster.NodeID, root cluster.Hash, from []cluster.NodeID) error {
	return c.peers.Pull(ctx, to, root, from)
}
