package compute_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/attachinterfaces"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/instanceactions"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/tags"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/usage"

	"github.com/kilonova/kilonova/cluster"
)

// client is gophercloud's, with a token of the lab.
func (l *lab) client(t *testing.T, token, version string) *gophercloud.ServiceClient {
	server := httptest.NewServer(l.handler)
	t.Cleanup(server.Close)
	provider := &gophercloud.ProviderClient{TokenID: token, HTTPClient: http.Client{Transport: &http.Transport{}}}
	t.Cleanup(provider.HTTPClient.CloseIdleConnections)
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: server.URL + "/compute/v2.1/", Type: "compute", Microversion: version}
}

// must stops the test at an error of the client.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Terraform and many others speak through gophercloud, at the oldest and at current microversions.
func TestGophercloud_LivesThroughAServersLife(t *testing.T) {
	for _, version := range []string{"", "2.79", "2.96"} {
		t.Run("microversion="+version, func(t *testing.T) {
			l := newLab(t)
			ctx := t.Context()
			c := l.client(t, "demo", version)
			keyOpts := keypairs.CreateOpts{Name: "k", PublicKey: publicKey(t)}
			key := must[*keypairs.KeyPair](t)(keypairs.Create(ctx, c, keyOpts).Extract())
			opts := keypairs.CreateOptsExt{KeyName: key.Name, CreateOptsBuilder: servers.CreateOpts{
				Name: "web", ImageRef: string(l.image), FlavorRef: nano, Networks: []servers.Network{{UUID: string(l.network), FixedIP: "10.78.0.40"}},
				Metadata: map[string]string{"a": "b"}, UserData: []byte("#!/bin/sh\n"),
			}}
			made := must[*servers.Server](t)(servers.Create(ctx, c, opts, nil).Extract())
			id := cluster.InstanceID(made.ID)
			l.boot(id)
			s := must[*servers.Server](t)(servers.Get(ctx, c, made.ID).Extract())
			if s.Status != "ACTIVE" || s.KeyName != "k" || s.Metadata["a"] != "b" || len(s.Addresses) != 1 || s.Created.IsZero() || s.Image["id"] != string(l.image) {
				t.Errorf("%+v", s)
			}
			l.gophercloudActs(ctx, t, c, id)
			pages := must[[]servers.Server](t)(listServers(ctx, c))
			if len(pages) != 1 || pages[0].ID != made.ID {
				t.Errorf("%+v", pages)
			}
			if err := servers.Delete(ctx, c, made.ID).ExtractErr(); err != nil {
				t.Error(err)
			}
			if err := keypairs.Delete(ctx, c, "k", nil).ExtractErr(); err != nil {
				t.Error(err)
			}
		})
	}
}

func listServers(ctx context.Context, c *gophercloud.ServiceClient) ([]servers.Server, error) {
	page, err := servers.List(c, servers.ListOpts{Limit: 1}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return servers.ExtractServers(page)
}

// gophercloudActs does to a server what clients do.
func (l *lab) gophercloudActs(ctx context.Context, t *testing.T, c *gophercloud.ServiceClient, id cluster.InstanceID) {
	if err := servers.Stop(ctx, c, string(id)).ExtractErr(); err != nil {
		t.Error(err)
	}
	l.report(id, cluster.InstanceReport{Power: cluster.PowerShutdown})
	if err := servers.Start(ctx, c, string(id)).ExtractErr(); err != nil {
		t.Error(err)
	}
	l.report(id, cluster.InstanceReport{Power: cluster.PowerRunning})
	if err := servers.Reboot(ctx, c, string(id), servers.RebootOpts{Type: servers.HardReboot}).ExtractErr(); err != nil {
		t.Error(err)
	}
	if out := must[string](t)(servers.ShowConsoleOutput(ctx, c, string(id), servers.ShowConsoleOutputOpts{Length: 1}).Extract()); out != "three" {
		t.Errorf("console output is %q", out)
	}
	renamed := must[*servers.Server](t)(servers.Update(ctx, c, string(id), servers.UpdateOpts{Name: "renamed"}).Extract())
	if renamed.Name != "renamed" {
		t.Errorf("%+v", renamed)
	}
	meta := must[map[string]string](t)(servers.UpdateMetadata(ctx, c, string(id), servers.MetadataOpts{"c": "d"}).Extract())
	if meta["c"] != "d" || meta["a"] != "b" {
		t.Errorf("%v", meta)
	}
	cards := must[[]attachinterfaces.Interface](t)(listInterfaces(ctx, c, string(id)))
	if len(cards) != 1 || cards[0].FixedIPs[0].IPAddress != "10.78.0.40" {
		t.Errorf("%+v", cards)
	}
	page, err := instanceactions.List(c, string(id), nil).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all := must[[]instanceactions.InstanceAction](t)(instanceactions.ExtractInstanceActions(page)); len(all) != 4 || all[3].Action != "create" {
		t.Errorf("%+v", all)
	}
	if c.Microversion == "" {
		return
	}
	if err := tags.Add(ctx, c, string(id), "blue").ExtractErr(); err != nil {
		t.Error(err)
	}
	if all := must[[]string](t)(tags.List(ctx, c, string(id)).Extract()); len(all) != 1 {
		t.Errorf("%v", all)
	}
}

func listInterfaces(ctx context.Context, c *gophercloud.ServiceClient, id string) ([]attachinterfaces.Interface, error) {
	page, err := attachinterfaces.List(c, id).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return attachinterfaces.ExtractInterfaces(page)
}

// An administrator looks after flavors, quotas and nodes.
func TestGophercloud_AdministersTheCloud(t *testing.T) {
	l := newLab(t)
	l.server("demo", "s", nil)
	ctx := t.Context()
	disk := 1
	old, now := l.client(t, "admin", ""), l.client(t, "admin", "2.79")
	f := must[*flavors.Flavor](t)(flavors.Create(ctx, now, flavors.CreateOpts{Name: "f", RAM: 64, VCPUs: 1, Disk: &disk, Description: "d"}).Extract())
	must[map[string]string](t)(flavors.CreateExtraSpecs(ctx, now, f.ID, flavors.ExtraSpecsOpts{"hw:x": "y"}).Extract())
	if f = must[*flavors.Flavor](t)(flavors.Get(ctx, now, f.ID).Extract()); f.ExtraSpecs["hw:x"] != "y" || f.Description != "d" {
		t.Errorf("%+v", f)
	}
	for _, c := range []*gophercloud.ServiceClient{old, now} {
		page, err := hypervisors.List(c, nil).AllPages(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if all := must[[]hypervisors.Hypervisor](t)(hypervisors.ExtractHypervisors(page)); len(all) != 1 || all[0].RunningVMs != 1 || all[0].Service.Host != "node-1" {
			t.Errorf("%+v", all)
		}
		if page, err = services.List(c, nil).AllPages(ctx); err != nil {
			t.Fatal(err)
		}
		if all := must[[]services.Service](t)(services.ExtractServices(page)); len(all) != 1 || all[0].State != "up" {
			t.Errorf("%+v", all)
		}
	}
	must[*hypervisors.Statistics](t)(hypervisors.GetStatistics(ctx, old).Extract())
	must[*hypervisors.Uptime](t)(hypervisors.GetUptime(ctx, now, string(l.Node.ID)).Extract())
	must[*services.Service](t)(services.Update(ctx, now, string(l.Node.ID), services.UpdateOpts{Status: services.ServiceDisabled, DisabledReason: "x"}).Extract())
	must[*limits.Limits](t)(limits.Get(ctx, old, nil).Extract())
	demo := string(l.Projs["demo"])
	cores := 7
	if q := must[*quotasets.QuotaSet](t)(quotasets.Update(ctx, now, demo, quotasets.UpdateOpts{Cores: &cores}).Extract()); q.Cores != 7 {
		t.Errorf("%+v", q)
	}
	must[quotasets.QuotaDetailSet](t)(quotasets.GetDetail(ctx, now, demo).Extract())
	page, err := availabilityzones.ListDetail(old).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if zones := must[[]availabilityzones.AvailabilityZone](t)(availabilityzones.ExtractAvailabilityZones(page)); len(zones) != 1 || zones[0].ZoneName != "nova" {
		t.Errorf("%+v", zones)
	}
	for _, c := range []*gophercloud.ServiceClient{old, now} {
		if page, err = usage.AllTenants(c, usage.AllTenantsOpts{Detailed: true}).AllPages(ctx); err != nil {
			t.Fatal(err)
		}
		if all := must[[]usage.TenantUsage](t)(usage.ExtractAllTenants(page)); len(all) != 1 || len(all[0].ServerUsages) != 1 {
			t.Errorf("%+v", all)
		}
	}
}
