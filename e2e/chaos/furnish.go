package chaos

import (
	"bytes"
	"context"
	"net/http"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// hostMemoryMiB is the memory of a simulated host. A server of the wide flavor has more than half of what is left of it.
const (
	hostMemoryMiB = 8192
	wideMiB       = 5000
)

// furnish makes an image, two flavors and a network, lifts the quotas, and makes leases short.
func (t *town) furnish(ctx context.Context) error {
	var found struct{ Projects []struct{ ID string } }
	if err := t.get(ctx, "/identity/v3/projects?name=admin", &found); err != nil {
		return err
	}
	t.project = found.Projects[0].ID
	var flavor, wide struct{ Flavor struct{ ID string } }
	var network struct{ Network struct{ ID string } }
	var image struct{ ID string }
	post := func(path string, body, into any, status int) error {
		return t.ask(ctx, cloud.Request{Method: http.MethodPost, Path: path, Body: body}, into, status)
	}
	put := func(path string, body any, status int) error {
		return t.ask(ctx, cloud.Request{Method: http.MethodPut, Path: path, Body: body}, nil, status)
	}
	for _, do := range []func() error{
		func() error {
			return post("/compute/v2.1/flavors", map[string]any{"flavor": map[string]any{"name": "small", "ram": 64, "vcpus": 1, "disk": 1}}, &flavor, http.StatusOK)
		},
		func() error {
			return post("/compute/v2.1/flavors", map[string]any{"flavor": map[string]any{"name": "wide", "ram": wideMiB, "vcpus": 1, "disk": 1}}, &wide, http.StatusOK)
		},
		func() error {
			return post("/network/v2.0/networks", map[string]any{"network": map[string]any{"name": "lan", "provider:network_type": "flat",
				"provider:physical_network": cloud.ProviderNetwork}}, &network, http.StatusCreated)
		},
		func() error {
			return post("/network/v2.0/subnets", map[string]any{"subnet": map[string]any{"network_id": network.Network.ID, "ip_version": 4, "cidr": "10.0.0.0/16",
				"enable_dhcp": false}}, nil, http.StatusCreated)
		},
		func() error {
			return post("/image/v2/images", map[string]any{"name": "tiny", "disk_format": "raw", "container_format": "bare", "visibility": "public"}, &image, http.StatusCreated)
		},
		func() error {
			return t.ask(ctx, cloud.Request{Method: http.MethodPut, Path: "/image/v2/images/" + image.ID + "/file", Body: bytes.Repeat([]byte("kilonova"), 8<<10),
				Header: map[string]string{"Content-Type": "application/octet-stream"}}, nil, http.StatusNoContent)
		},
		func() error {
			return put("/compute/v2.1/os-quota-sets/"+t.project, map[string]any{"quota_set": map[string]int{"instances": -1, "cores": -1, "ram": -1}}, http.StatusOK)
		},
		func() error {
			return put("/network/v2.0/quotas/"+t.project, map[string]any{"quota": map[string]int{"port": -1}}, http.StatusOK)
		},
		func() error {
			return put("/volume/v3/"+t.project+"/os-quota-sets/"+t.project, map[string]any{"quota_set": map[string]int{"volumes": -1, "gigabytes": -1}}, http.StatusOK)
		},
		func() error {
			return put("/cluster/v1/settings", map[string]any{"settings": map[string]string{"lease_stop": "4s", "lease_kill": "2s", "lease_dead": "7s"}}, http.StatusOK)
		},
	} {
		if err := do(); err != nil {
			return err
		}
	}
	t.stage = supplies{image.ID, flavor.Flavor.ID, wide.Flavor.ID, network.Network.ID}
	return nil
}
