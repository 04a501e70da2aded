package main

import (
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/mtu"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/provider"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/spf13/cobra"
)

func newNetworkCommand() *cobra.Command {
	f := &cloudFlags{}
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Create and look at networks",
	}
	f.add(cmd)
	cmd.AddCommand(newNetworkCreateCommand(f),
		f.command("list", "List networks", cobra.NoArgs, func(cmd *cobra.Command, c *cloud, _ []string) error {
			all, err := c.networks(cmd.Context(), networks.ListOpts{})
			if err != nil {
				return err
			}
			return printList(c.out, networkColumns, all)
		}),
		f.command("show NETWORK", "Show a network, by name or ID", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
			found, err := c.findNetwork(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printOne(c.out, networkColumns, found)
		}),
		f.command("delete NETWORK...", "Delete networks and their subnets, by name or ID", cobra.MinimumNArgs(1),
			func(cmd *cobra.Command, c *cloud, args []string) error {
				return c.each(cmd.Context(), args, c.deleteNetwork)
			}))
	return cmd
}

// cloudNetwork is a network with what administrators see of it.
type cloudNetwork struct {
	networks.Network
	provider.NetworkProviderExt
	mtu.NetworkMTUExt
}

var networkColumns = []column[cloudNetwork]{
	{"ID", func(n cloudNetwork) any { return n.ID }},
	{"Name", func(n cloudNetwork) any { return n.Name }},
	{"Status", func(n cloudNetwork) any { return n.Status }},
	{"Shared", func(n cloudNetwork) any { return n.Shared }},
	{"Physical", func(n cloudNetwork) any { return n.PhysicalNetwork }},
	{"MTU", func(n cloudNetwork) any { return n.MTU }},
	{"Subnets", func(n cloudNetwork) any { return n.Subnets }},
}

func (c *cloud) networks(ctx context.Context, opts networks.ListOpts) ([]cloudNetwork, error) {
	s, err := c.network()
	if err != nil {
		return nil, err
	}
	pages, err := networks.List(s, opts).AllPages(ctx)
	if err != nil {
		return nil, doing("list networks", err)
	}
	var all []cloudNetwork
	err = networks.ExtractNetworksInto(pages, &all)
	return all, err
}

// findNetwork finds a network by its ID or its name.
func (c *cloud) findNetwork(ctx context.Context, arg string) (cloudNetwork, error) {
	for _, opts := range []networks.ListOpts{{ID: arg}, {Name: arg}} {
		if opts.ID != "" && !isUUID(arg) {
			continue
		}
		all, err := c.networks(ctx, opts)
		if err != nil {
			return cloudNetwork{}, err
		}
		if opts.ID == "" || len(all) > 0 {
			return resolve("network", arg, all, func(n cloudNetwork) named { return named{n.ID, n.Name} })
		}
	}
	panic("main: a network is looked for by its name at last")
}

func (c *cloud) deleteNetwork(ctx context.Context, arg string) error {
	found, err := c.findNetwork(ctx, arg)
	if err != nil {
		return err
	}
	s, err := c.network()
	if err != nil {
		return err
	}
	return doing("delete network "+arg, networks.Delete(ctx, s, found.ID).ExtractErr())
}

// networkRequest is a create that may name the physical network.
type networkRequest struct {
	networks.CreateOpts
	physical string
	external bool
	mtu      int
}

// ToNetworkCreateMap implements networks.CreateOptsBuilder.
func (r networkRequest) ToNetworkCreateMap() (map[string]any, error) {
	body, err := r.CreateOpts.ToNetworkCreateMap()
	if err != nil {
		return nil, err
	}
	n, ok := body["network"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the request for network %s has no network in it", r.Name)
	}
	if r.physical != "" {
		n["provider:network_type"], n["provider:physical_network"] = "flat", r.physical
	}
	if r.external {
		n["router:external"] = true
	}
	if r.mtu != 0 {
		n["mtu"] = r.mtu
	}
	return body, nil
}

func newNetworkCreateCommand(f *cloudFlags) *cobra.Command {
	var q networkRequest
	var shared bool
	cmd := f.command("create NAME", "Create a network", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		q.Name = args[0]
		if shared {
			q.Shared = &shared
		}
		s, err := c.network()
		if err != nil {
			return err
		}
		var made cloudNetwork
		if err := networks.Create(cmd.Context(), s, q).ExtractInto(&made); err != nil {
			return doing("create network "+q.Name, err)
		}
		return printOne(c.out, networkColumns, made)
	})
	cmd.Long = `Creates a network: on every node, the Linux bridge that the node's --bridge names for the physical network.
It needs a subnet before servers get addresses on it.`
	cmd.Example = `  kilonova network create lan --physical lan --shared
  kilonova subnet create lan --network lan --range 192.0.2.0/24 --gateway 192.0.2.1`
	fl := cmd.Flags()
	fl.StringVar(&q.physical, "physical", "", "physical network, as the nodes' --bridge calls it (default: the only one there is)")
	fl.StringVar(&q.Description, "description", "", "what it is for")
	fl.BoolVar(&shared, "shared", false, "for all projects (administrators only)")
	fl.BoolVar(&q.external, "external", false, "leads out of the cloud (administrators only)")
	fl.IntVar(&q.mtu, "mtu", 0, "largest packet in bytes (default: 1500)")
	return cmd
}
