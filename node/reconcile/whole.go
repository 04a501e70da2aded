package reconcile

import (
	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Whole is Guest with the volumes of the instance; with nil volumes it is the same.
func Whole(in *cluster.Instance, view *cluster.View, self cluster.NodeID, images Images, volumes Volumes) (virt.Guest, error) {
	g, err := Guest(in, view, self, images)
	if err != nil || volumes == nil {
		return g, err
	}
	disks, err := volumes.Disks(view, in, self)
	g.Disks = append(g.Disks, disks...)
	for _, d := range disks {
		g.Root.None = g.Root.None || d.Boot
	}
	return g, err
}
