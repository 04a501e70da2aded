package crash

import (
	"context"
	"net/http"
)

// stage is what servers are made of.
type stage struct {
	image, small, large, network string
}

const imageBytes = 1024

// furnish makes an image, two flavors and a network, and lifts the quotas.
func furnish(ctx context.Context, c *client) (*stage, error) {
	var s stage
	var flavor struct{ Flavor struct{ ID string } }
	var network struct{ Network struct{ ID string } }
	var image struct{ ID string }
	for _, r := range []struct {
		method, path string
		body, into   any
		keep         func()
	}{
		{http.MethodPost, "/compute/v2.1/flavors", map[string]any{"flavor": map[string]any{"name": "small", "ram": 64, "vcpus": 1, "disk": 1}}, &flavor,
			func() { s.small = flavor.Flavor.ID }},
		{http.MethodPost, "/compute/v2.1/flavors", map[string]any{"flavor": map[string]any{"name": "large", "ram": 128, "vcpus": 2, "disk": 2}}, &flavor,
			func() { s.large = flavor.Flavor.ID }},
		{http.MethodPost, "/network/v2.0/networks", map[string]any{"network": map[string]any{"name": "lan",
			"provider:network_type": "flat", "provider:physical_network": "lan"}}, &network, func() { s.network = network.Network.ID }},
		{http.MethodPost, "/image/v2/images", map[string]any{"name": "small", "disk_format": "raw", "container_format": "bare", "visibility": "public"},
			&image, func() { s.image = image.ID }},
	} {
		if err := c.ask(ctx, r.method, r.path, r.body, r.into); err != nil {
			return nil, err
		}
		r.keep()
	}
	unbounded := map[string]any{"quota_set": map[string]any{"instances": -1, "cores": -1, "ram": -1}}
	disks := map[string]any{"quota_set": map[string]any{"volumes": -1, "gigabytes": -1, "snapshots": -1}}
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/network/v2.0/subnets", map[string]any{"subnet": map[string]any{"network_id": s.network, "ip_version": 4, "cidr": "10.0.0.0/16"}}},
		{http.MethodPut, "/image/v2/images/" + s.image + "/file", make([]byte, imageBytes)},
		{http.MethodPut, "/compute/v2.1/os-quota-sets/" + c.project, unbounded},
		{http.MethodPut, "/network/v2.0/quotas/" + c.project, map[string]any{"quota": map[string]any{"port": -1}}},
		{http.MethodPut, "/volume/v3/" + c.project + "/os-quota-sets/" + c.project, disks},
	} {
		if err := c.ask(ctx, r.method, r.path, r.body, nil); err != nil {
			return nil, err
		}
	}
	return &s, nil
}
