package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/spf13/cobra"
)

// maxUserData is Nova's limit, in bytes before they are encoded.
const maxUserData = 65535 / 4 * 3

// serverRequest is what the flags of `server create` say.
type serverRequest struct {
	image, flavor string
	networks      []string
	keyName       string
	userData      string
	properties    []string
	zone, host    string
	count         int
	wait          waitFlags
}

func newServerCreateCommand(f *cloudFlags) *cobra.Command {
	var q serverRequest
	cmd := f.command("create NAME", "Create a server", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		return c.createServers(cmd.Context(), args[0], q)
	})
	cmd.Long = `Creates a server, or several alike, which are then called NAME-1, NAME-2 and so on. The command returns as soon as the
cluster has promised the server; with --wait, when it runs, and with an error when it cannot.`
	cmd.Example = `  kilonova server create --image debian-12 --flavor small --network lan --key-name me --wait web-1
  kilonova server create --image debian-12 --flavor small --network lan --user-data cloud-init.yaml --count 3 web`
	fl := cmd.Flags()
	fl.StringVar(&q.image, "image", "", "image to boot, by name or ID")
	fl.StringVar(&q.flavor, "flavor", "", "flavor, by name or ID")
	fl.StringArrayVar(&q.networks, "network", nil, "network, by name or ID, or none; may be given more than once (default: the only one there is)")
	fl.StringVar(&q.keyName, "key-name", "", "key pair whose public key the guest gets")
	fl.StringVar(&q.userData, "user-data", "", "file with what cloud-init is to do")
	fl.StringArrayVar(&q.properties, "property", nil, "property KEY=VALUE of the server; may be given more than once")
	fl.StringVar(&q.zone, "availability-zone", "", "zone to run in")
	fl.StringVar(&q.host, "host", "", "node to run on (administrators only)")
	fl.IntVar(&q.count, "count", 1, "how many")
	q.wait.add(cmd)
	required(cmd, "image", "flavor")
	f.completeFlags(cmd, map[string]string{"image": "IMAGE", "flavor": "FLAVOR", "network": "NETWORK", "key-name": "KEYPAIR"})
	return cmd
}

// required marks flags that must be given.
func required(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		_ = cmd.MarkFlagRequired(name) // it fails only for a flag that does not exist
	}
}

func (c *cloud) createServers(ctx context.Context, name string, q serverRequest) error {
	opts, err := c.serverOptions(ctx, name, q)
	if err != nil {
		return err
	}
	s, err := c.compute()
	if err != nil {
		return err
	}
	list, err := c.startServers(ctx, s, opts, q.keyName)
	if err != nil {
		return err
	}
	var failed error
	if q.wait.wait {
		var errs []error
		for i := range list {
			var err error
			if list[i], err = c.settle(ctx, s, list[i], "ACTIVE", q.wait.limit); err != nil {
				errs = append(errs, err)
			}
		}
		failed = errors.Join(errs...)
	}
	if len(list) == 1 {
		return errors.Join(failed, c.showServer(ctx, list[0]))
	}
	rows, err := c.rows(ctx, list...)
	if err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(failed, printList(c.out, serverColumns(false), rows))
}

// startServers asks for the servers, and gives them as they are at once.
func (c *cloud) startServers(ctx context.Context, s *gophercloud.ServiceClient, opts servers.CreateOpts, key string) ([]servers.Server, error) {
	request := keypairs.CreateOptsExt{CreateOptsBuilder: opts, KeyName: key}
	if opts.Max > 1 {
		res := servers.Create(ctx, s, reserved{request}, nil)
		if res.Err != nil {
			return nil, doing("create servers "+opts.Name, res.Err)
		}
		body, _ := res.Body.(map[string]any)
		id, _ := body["reservation_id"].(string)
		if id == "" {
			return nil, fmt.Errorf("create servers %s: they are made, but the answer does not say which: `kilonova server list` shows them", opts.Name)
		}
		return c.servers(ctx, reservation(id))
	}
	made, err := servers.Create(ctx, s, request, nil).Extract()
	if err != nil {
		return nil, doing("create server "+opts.Name, err)
	}
	now, err := servers.Get(ctx, s, made.ID).Extract()
	if err != nil {
		return nil, doing("show server "+made.ID+", which is made", err)
	}
	return []servers.Server{*now}, nil
}

// reserved asks for a reservation ID, by which several servers are found again.
type reserved struct{ servers.CreateOptsBuilder }

// ToServerCreateMap implements servers.CreateOptsBuilder.
func (r reserved) ToServerCreateMap() (map[string]any, error) {
	body, err := r.CreateOptsBuilder.ToServerCreateMap()
	if err != nil {
		return nil, err
	}
	if server, ok := body["server"].(map[string]any); ok {
		server["return_reservation_id"] = true
	}
	return body, nil
}

// reservation lists the servers of one create.
type reservation string

// ToServerListQuery implements servers.ListOptsBuilder.
func (r reservation) ToServerListQuery() (string, error) {
	q, err := gophercloud.BuildQueryString(struct {
		ID  string `q:"reservation_id"`
		Key string `q:"sort_key"`
		Dir string `q:"sort_dir"`
	}{string(r), "display_name", "asc"})
	if err != nil {
		return "", err
	}
	return q.String(), nil
}

// serverOptions finds what the flags name.
func (c *cloud) serverOptions(ctx context.Context, name string, q serverRequest) (servers.CreateOpts, error) {
	opts := servers.CreateOpts{Name: name, AvailabilityZone: q.zone, HypervisorHostname: q.host}
	var err error
	if q.count < 1 {
		return opts, usagef("--count %d is less than 1", q.count)
	}
	if q.count > 1 {
		opts.Min, opts.Max = q.count, q.count
	}
	if opts.Metadata, err = pairs("property", q.properties); err != nil {
		return opts, err
	}
	if q.userData != "" {
		if opts.UserData, err = readUserData(q.userData); err != nil {
			return opts, err
		}
	}
	image, err := c.findImage(ctx, q.image)
	if err != nil {
		return opts, err
	}
	flavor, err := c.findFlavor(ctx, q.flavor)
	if err != nil {
		return opts, err
	}
	opts.ImageRef, opts.FlavorRef = image.ID, flavor.ID
	opts.Networks, err = c.nics(ctx, q.networks)
	return opts, err
}

// nics are the networks of a server, as its create names them. None at all leaves the choice to the cloud.
func (c *cloud) nics(ctx context.Context, names []string) (any, error) {
	if len(names) == 0 {
		return "auto", nil
	}
	if len(names) == 1 && (names[0] == "none" || names[0] == "auto") {
		return names[0], nil
	}
	var out []servers.Network
	for _, name := range names {
		n, err := c.findNetwork(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, servers.Network{UUID: n.ID})
	}
	return out, nil
}

// readUserData reads a file and encodes it, always: the library takes text that happens to be base64 for encoded
// already.
func readUserData(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the user data: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxUserData+1))
	if err != nil {
		return nil, fmt.Errorf("read the user data: %w", err)
	}
	if len(data) > maxUserData {
		return nil, fmt.Errorf("read the user data: %s is larger than %d bytes: let it fetch the rest", path, maxUserData)
	}
	return []byte(base64.StdEncoding.EncodeToString(data)), nil
}
