package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

const (
	cloudName   = "kilonova"
	imageBytes  = 64 << 10
	networkName = "shared"
)

// scene is the cloud as tempest.conf describes it.
type scene struct {
	AuthURLs                 []string // one for each node
	Region, CACert, Password string
	Images, Flavors          [2]string
	Network                  string // a name
	Nodes                    int
}

// stage makes what Tempest expects of a cloud: two images, two flavors, and a network that every project sees.
func stage(ctx context.Context, t *town) (*scene, error) {
	caCert := filepath.Join(t.first().dir, "ca.pem")
	auth, endpoint, tls, err := clouds.Parse(clouds.WithLocations(t.cloudsFile()), clouds.WithCloudName(cloudName))
	if err != nil {
		return nil, err
	}
	provider, err := config.NewProviderClient(ctx, auth, config.WithTLSConfig(tls))
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	var authURLs []string
	for _, p := range t.peers {
		authURLs = append(authURLs, strings.Replace(auth.IdentityEndpoint, t.first().addr, p.addr, 1))
	}
	s := &scene{AuthURLs: authURLs, Region: endpoint.Region, CACert: caCert, Password: auth.Password, Network: networkName, Nodes: townSize}
	for _, part := range []func(context.Context, *gophercloud.ProviderClient, gophercloud.EndpointOpts) error{s.makeImages, s.makeFlavors, s.makeNetwork} {
		if err := part(ctx, provider, endpoint); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *scene) makeImages(ctx context.Context, p *gophercloud.ProviderClient, e gophercloud.EndpointOpts) error {
	c, err := openstack.NewImageV2(p, e)
	if err != nil {
		return err
	}
	public := images.ImageVisibilityPublic
	for i := range s.Images {
		im, err := images.Create(ctx, c, images.CreateOpts{
			Name: fmt.Sprintf("tempest-%d", i+1), DiskFormat: "raw", ContainerFormat: "bare", Visibility: &public,
		}).Extract()
		if err != nil {
			return fmt.Errorf("make an image: %w", err)
		}
		content := make([]byte, imageBytes)
		_, _ = rand.Read(content) // never fails
		if err := imagedata.Upload(ctx, c, im.ID, bytes.NewReader(content)).ExtractErr(); err != nil {
			return fmt.Errorf("upload an image: %w", err)
		}
		s.Images[i] = im.ID
	}
	return nil
}

func (s *scene) makeFlavors(ctx context.Context, p *gophercloud.ProviderClient, e gophercloud.EndpointOpts) error {
	c, err := openstack.NewComputeV2(p, e)
	if err != nil {
		return err
	}
	disk := 1
	for i := range s.Flavors {
		f, err := flavors.Create(ctx, c, flavors.CreateOpts{Name: fmt.Sprintf("tempest-%d", i+1), RAM: 64 * (i + 2), VCPUs: 1, Disk: &disk}).Extract()
		if err != nil {
			return fmt.Errorf("make a flavor: %w", err)
		}
		s.Flavors[i] = f.ID
	}
	return nil
}

func (s *scene) makeNetwork(ctx context.Context, p *gophercloud.ProviderClient, e gophercloud.EndpointOpts) error {
	c, err := openstack.NewNetworkV2(p, e)
	if err != nil {
		return err
	}
	shared := true
	n, err := networks.Create(ctx, c, networks.CreateOpts{Name: s.Network, Shared: &shared}).Extract()
	if err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	if _, err := subnets.Create(ctx, c, subnets.CreateOpts{NetworkID: n.ID, IPVersion: gophercloud.IPv4, CIDR: "10.1.0.0/20"}).Extract(); err != nil {
		return fmt.Errorf("make a subnet: %w", err)
	}
	return nil
}
