package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	imageBytes    = 1024
	activeTimeout = 30 * time.Second
	maxTogether   = 1000 // servers that one request may make
)

// scene is what servers are made of.
type scene struct {
	image, flavor, network string
}

// stage makes what servers of the town need, which are many.
func (t *town) stage(ctx context.Context) (*scene, error) {
	if t.scene != nil {
		return t.scene, nil
	}
	subnet := map[string]any{"ip_version": 4, "cidr": "10.0.0.0/12", "enable_dhcp": false}
	s, err := setScene(ctx, t.admin, map[string]any{"disk_format": "raw"}, make([]byte, imageBytes), subnet)
	if err != nil {
		return nil, err
	}
	if err := t.liftQuota(ctx, t.admin.where); err != nil {
		return nil, err
	}
	t.scene = s
	return s, nil
}

// setScene makes an image, a flavor and a network.
func setScene(ctx context.Context, c *client, image map[string]any, content []byte, subnet map[string]any) (*scene, error) {
	image["name"], image["container_format"], image["visibility"] = "bench", "bare", "public"
	var madeFlavor struct{ Flavor struct{ ID string } }
	var madeNetwork struct{ Network struct{ ID string } }
	var madeImage struct{ ID string }
	for _, r := range []struct {
		path       string
		body, into any
	}{
		{"/compute/v2.1/flavors", map[string]any{"flavor": map[string]any{"name": "bench", "ram": 128, "vcpus": 1, "disk": 1}}, &madeFlavor},
		{"/network/v2.0/networks", map[string]any{"network": map[string]any{"name": "bench", "shared": true,
			"provider:network_type": "flat", "provider:physical_network": "lan"}}, &madeNetwork},
		{"/image/v2/images", image, &madeImage},
	} {
		if err := c.post(ctx, r.path, r.body, r.into); err != nil {
			return nil, err
		}
	}
	subnet["network_id"] = madeNetwork.Network.ID
	if err := c.post(ctx, "/network/v2.0/subnets", map[string]any{"subnet": subnet}, nil); err != nil {
		return nil, err
	}
	if err := c.put(ctx, "/image/v2/images/"+madeImage.ID+"/file", content); err != nil {
		return nil, err
	}
	return &scene{image: madeImage.ID, flavor: madeFlavor.Flavor.ID, network: madeNetwork.Network.ID}, nil
}

func (t *town) liftQuota(ctx context.Context, project string) error {
	compute := map[string]any{"quota_set": map[string]any{"instances": -1, "cores": -1, "ram": -1}}
	if err := t.admin.put(ctx, "/compute/v2.1/os-quota-sets/"+project, compute); err != nil {
		return err
	}
	return t.admin.put(ctx, "/network/v2.0/quotas/"+project, map[string]any{"quota": map[string]any{"port": -1}})
}

// server is the body of a request for servers.
func (s *scene) server(name string, count int) map[string]any {
	server := map[string]any{"name": name, "imageRef": s.image, "flavorRef": s.flavor,
		"networks": []map[string]any{{"uuid": s.network}}}
	if count > 1 {
		server["min_count"] = count
	}
	return map[string]any{"server": server}
}

// fill makes a project with that many servers and gives a client that is logged in to it.
func (t *town) fill(ctx context.Context, name string, servers int) (*client, error) {
	s, err := t.stage(ctx)
	if err != nil {
		return nil, err
	}
	var made struct{ Project struct{ ID string } }
	if err := t.admin.post(ctx, "/identity/v3/projects", map[string]any{"project": map[string]any{"name": name}}, &made); err != nil {
		return nil, err
	}
	var roles struct{ Roles []struct{ ID string } }
	if err := t.admin.get(ctx, "/identity/v3/roles?name=admin", &roles); err != nil {
		return nil, err
	}
	if len(roles.Roles) != 1 {
		return nil, fmt.Errorf("find the role admin: there are %d", len(roles.Roles))
	}
	project := made.Project.ID
	if err := t.admin.put(ctx, "/identity/v3/projects/"+project+"/users/"+t.admin.user+"/roles/"+roles.Roles[0].ID, nil); err != nil {
		return nil, err
	}
	if err := t.liftQuota(ctx, project); err != nil {
		return nil, err
	}
	c := t.admin.at(t.admin.url)
	if err := c.logIn(ctx, project); err != nil {
		return nil, err
	}
	for left := servers; left > 0; left -= maxTogether {
		if err := c.post(ctx, "/compute/v2.1/servers", s.server(name, min(left, maxTogether)), nil); err != nil {
			return nil, err
		}
	}
	return c, t.waitActive(ctx)
}

// waitActive waits until no server is being built any more.
func (t *town) waitActive(ctx context.Context) error {
	return t.awaitNone(ctx, t.admin, "status=BUILD", activePoll)
}

// awaitNone waits until no server is found by a filter, and looks from time to time.
func (t *town) awaitNone(ctx context.Context, c *client, filter string, every time.Duration) error {
	return poll(ctx, t.peers[0], func() error {
		var found struct{ Servers []struct{ ID string } }
		if err := c.get(ctx, "/compute/v2.1/servers?all_tenants=1&limit=1&"+filter, &found); err != nil {
			return err
		}
		if len(found.Servers) == 0 {
			return nil
		}
		if err := sleep(ctx, every); err != nil {
			return err
		}
		return fmt.Errorf("server %s is still there with %q", found.Servers[0].ID, filter)
	})
}

// activePoll is how long to wait between two looks at what is being built: each look costs the nodes something.
const activePoll = 200 * time.Millisecond

// metric reads one number of a node's /metrics.
func (c *client) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(rest, 64)
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", c.url, name)
}
