package volume

import (
	"maps"
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

func (c *call) listZones() error {
	open := map[string]bool{defaultZone: false}
	for n := range c.view.Hypervisors() {
		zone := c.view.ZoneOf(n)
		open[zone] = open[zone] || !n.Service.Disabled
	}
	if len(open) > 1 && !open[defaultZone] {
		delete(open, defaultZone)
	}
	all := []any{}
	for _, name := range slices.Sorted(maps.Keys(open)) {
		all = append(all, map[string]any{"zoneName": name, "zoneState": map[string]bool{"available": open[name]}})
	}
	return c.reply(http.StatusOK, map[string]any{"availabilityZoneInfo": all})
}

// listServices shows each node as the volume service that it is.
func (c *call) listServices() error {
	if err := c.admin("volume_extension:services:index"); err != nil {
		return err
	}
	q := c.r.URL.Query()
	all := []any{}
	for n := range c.view.Hypervisors() {
		for _, host := range backends(n) {
			if want := q.Get("host"); want != "" && want != host && want != n.Name {
				continue
			}
			if want := q.Get("binary"); want != "" && want != "cinder-volume" {
				continue
			}
			all = append(all, c.serviceOf(n, host))
		}
	}
	return c.reply(http.StatusOK, map[string]any{"services": all})
}

func backends(n *cluster.Node) []string {
	all := []string{n.Name + "@local"}
	if slices.Contains(n.Host.Traits, cluster.TraitSharedVolumes) {
		all = append(all, n.Name+"@shared")
	}
	return all
}

func (c *call) serviceOf(n *cluster.Node, host string) map[string]any {
	state, status := "up", "enabled"
	if c.Liveness != nil {
		if up, _ := c.Liveness.Liveness(n.ID); !up {
			state = "down"
		}
	}
	if n.Service.Disabled {
		status = "disabled"
	}
	return map[string]any{
		"binary": "cinder-volume", "host": host, "zone": c.view.ZoneOf(n), "status": status, "state": state, "updated_at": stamp(n.Updated),
		"disabled_reason": orNull(n.Service.Reason), "replication_status": "disabled", "active_backend_id": nil, "frozen": false,
	}
}

// listPools shows what room there is for volumes.
func (c *call) listPools() error {
	if err := c.admin("scheduler_extension:scheduler_stats:get_pools"); err != nil {
		return err
	}
	all := []any{}
	for n := range c.view.Hypervisors() {
		limit, used := n.Capacity.Limit().DiskGiB, c.view.Allocated(n.ID).DiskGiB
		pool := map[string]any{"name": n.Name + "@local#local"}
		if c.r.URL.Query().Get("detail") != "" {
			pool["capabilities"] = map[string]any{
				"pool_name": "local", "total_capacity_gb": limit, "free_capacity_gb": max(0, limit-used), "allocated_capacity_gb": used,
				"volume_backend_name": "local", "storage_protocol": "file", "driver_version": n.Version, "vendor_name": "Kilonova",
				"QoS_support": false, "multiattach": true, "thin_provisioning_support": true, "reserved_percentage": 0,
			}
		}
		all = append(all, pool)
	}
	return c.reply(http.StatusOK, map[string]any{"pools": all})
}

// nothing replies with an empty list of what there is none of.
func nothing(name string) func(*call) error {
	return func(c *call) error { return c.reply(http.StatusOK, map[string]any{name: []any{}}) }
}

func never(what string) func(*call) error {
	return func(*call) error { return unsupported(what) }
}

// noneOf is 404 for a thing of which there are none.
func noneOf(what string) func(*call) error {
	return func(c *call) error { return missing(what, c.param("id")) }
}
