package e2e

import (
	"context"
	"net/http"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/instanceactions"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// oldest and current are the ends of the microversions of Nova's API that clients choose from.
const (
	oldest  = "2.1"
	current = "2.96"
)

// A program with gophercloud, as Terraform is one, knows nothing but clouds.yaml. It does what it does with any OpenStack, at the oldest
// microversion and at the newest.
func TestGophercloud_WorksAtTheOldestAndTheCurrentMicroversion(t *testing.T) {
	s := newSimStage(t, 1)
	p := s.supply(s.Nodes[0])
	provider, endpoints := s.gophercloud()
	if !t.Run("lists what there is", func(t *testing.T) { gopherLists(t, provider, endpoints, p) }) {
		return
	}
	for _, microversion := range []string{oldest, current} {
		t.Run("a server's life at "+microversion, func(t *testing.T) {
			compute, err := openstack.NewComputeV2(provider, endpoints)
			if err != nil {
				t.Fatal(err)
			}
			compute.Microversion = microversion
			gopherServer(t, compute, p)
		})
	}
}

// gophercloud logs in with clouds.yaml alone.
func (s *stage) gophercloud() (*gophercloud.ProviderClient, gophercloud.EndpointOpts) {
	s.t.Helper()
	auth, endpoints, tlsConfig, err := clouds.Parse(clouds.WithCloudName(cloud.CloudName), clouds.WithLocations(s.CloudsFile()))
	s.must(err)
	transport := &http.Transport{TLSClientConfig: tlsConfig}
	s.t.Cleanup(transport.CloseIdleConnections)
	provider, err := config.NewProviderClient(s.ctx, auth, config.WithHTTPClient(http.Client{Transport: transport}))
	s.must(err)
	return provider, endpoints
}

// gopherLists finds the supplies through the services that the catalog names.
func gopherLists(t *testing.T, provider *gophercloud.ProviderClient, endpoints gophercloud.EndpointOpts, p supplies) {
	ctx := t.Context()
	image, err := openstack.NewImageV2(provider, endpoints)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := images.Get(ctx, image, p.image).Extract(); err != nil || i.Status != images.ImageStatusActive || i.Name != "tiny" {
		t.Errorf("the image: %+v, %v", i, err)
	}
	network, err := openstack.NewNetworkV2(provider, endpoints)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := networks.Get(ctx, network, p.network).Extract(); err != nil || n.Name != "lan" || !n.Shared {
		t.Errorf("the network: %+v, %v", n, err)
	}
	compute, err := openstack.NewComputeV2(provider, endpoints)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := flavors.Get(ctx, compute, p.flavor).Extract(); err != nil || f.RAM != 64 {
		t.Errorf("the flavor: %+v, %v", f, err)
	}
	pages, err := hypervisors.List(compute, nil).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := hypervisors.ExtractHypervisors(pages); err != nil || len(all) != 1 || all[0].State != "up" {
		t.Errorf("the hypervisors: %+v, %v", all, err)
	}
}

// gopherServer makes, changes, stops, starts and deletes a server.
func gopherServer(t *testing.T, compute *gophercloud.ServiceClient, p supplies) {
	ctx := t.Context()
	key, err := keypairs.Create(ctx, compute, keypairs.CreateOpts{Name: "key", PublicKey: publicKey}).Extract()
	if err != nil || key.Fingerprint == "" {
		t.Fatalf("the key pair: %+v, %v", key, err)
	}
	made, err := servers.Create(ctx, compute, keypairs.CreateOptsExt{KeyName: key.Name, CreateOptsBuilder: servers.CreateOpts{
		Name: "gopher", ImageRef: p.image, FlavorRef: p.flavor, Networks: []servers.Network{{UUID: p.network}},
		Metadata: map[string]string{"role": "web"}, UserData: []byte("#!/bin/sh\n"),
	}}, nil).Extract()
	if err != nil {
		t.Fatal(err)
	}
	gopherWait(t, compute, made.ID, "ACTIVE")
	if _, err := servers.Update(ctx, compute, made.ID, servers.UpdateOpts{Name: "renamed"}).Extract(); err != nil {
		t.Error(err)
	}
	if _, err := servers.UpdateMetadata(ctx, compute, made.ID, servers.MetadataOpts{"role": "db"}).Extract(); err != nil {
		t.Error(err)
	}
	if err := servers.Stop(ctx, compute, made.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	gopherWait(t, compute, made.ID, "SHUTOFF")
	if err := servers.Start(ctx, compute, made.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	gopherWait(t, compute, made.ID, "ACTIVE")
	gopherLooks(t, compute, made.ID)
	if err := servers.Delete(ctx, compute, made.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	if err := keypairs.Delete(ctx, compute, key.Name, nil).ExtractErr(); err != nil {
		t.Error(err)
	}
}

// gopherLooks reads what the API says of the server after its changes.
func gopherLooks(t *testing.T, compute *gophercloud.ServiceClient, id string) {
	ctx := t.Context()
	v, err := servers.Get(ctx, compute, id).Extract()
	if err != nil || v.Name != "renamed" || v.Metadata["role"] != "db" || v.KeyName != "key" || len(v.Addresses) != 1 {
		t.Errorf("the server: %+v, %v", v, err)
	}
	pages, err := servers.List(compute, servers.ListOpts{Name: "renamed"}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := servers.ExtractServers(pages); err != nil || len(all) != 1 || all[0].ID != id {
		t.Errorf("the list: %+v, %v", all, err)
	}
	pages, err = instanceactions.List(compute, id, nil).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := instanceactions.ExtractInstanceActions(pages); err != nil || len(all) < 3 {
		t.Errorf("create, stop and start left %d actions, %v", len(all), err)
	}
}

func gopherWait(t *testing.T, compute *gophercloud.ServiceClient, id, status string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), memberLimit)
	defer cancel()
	if err := servers.WaitForStatus(ctx, compute, id, status); err != nil {
		t.Fatalf("the server does not become %s: %v", status, err)
	}
}
