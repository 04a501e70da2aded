package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
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
	Physical string `json:"provider:physical_network"`
	MTU      int    `json:"mtu"`
}

// UnmarshalJSON reads both parts: the library's reads itself, and would hide the other.
func (n *cloudNetwork) UnmarshalJSON(b []byte) error {
	if err := n.Network.UnmarshalJSON(b); err != nil {
		return err
	}
	var rest struct {
		Physical string `json:"provider:physical_network"`
		MTU      int    `json:"mtu"`
	}
	err := json.Unmarshal(b, &rest)
	n.Physical, n.MTU = rest.Physical, rest.MTU
	return err
}

var networkColumns = []column[cloudNetwork]{
	{"ID", func(n cloudNetwork) any { return n.ID }},
	{"Name", func(n cloudNetwork) any { return n.Name }},
	{"Status", func(n cloudNetwork) any { return n.Status }},
	{"Shared", func(n cloudNetwork) any { return n.Shared }},
	{"Physical", func(n cloudNetwork) any { return n.Physical }},
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

func newSubnetCommand() *cobra.Command {
	f := &cloudFlags{}
	cmd := &cobra.Command{
		Use:   "subnet",
		Short: "Create and look at subnets: ranges of addresses on networks",
	}
	f.add(cmd)
	cmd.AddCommand(newSubnetCreateCommand(f),
		f.command("list", "List subnets", cobra.NoArgs, func(cmd *cobra.Command, c *cloud, _ []string) error {
			all, err := c.subnets(cmd.Context(), subnets.ListOpts{})
			if err != nil {
				return err
			}
			return printList(c.out, subnetColumns, all)
		}),
		f.command("delete SUBNET...", "Delete subnets, by name or ID", cobra.MinimumNArgs(1),
			func(cmd *cobra.Command, c *cloud, args []string) error {
				return c.each(cmd.Context(), args, c.deleteSubnet)
			}))
	return cmd
}

var subnetColumns = []column[subnets.Subnet]{
	{"ID", func(n subnets.Subnet) any { return n.ID }},
	{"Name", func(n subnets.Subnet) any { return n.Name }},
	{"Network", func(n subnets.Subnet) any { return n.NetworkID }},
	{"Range", func(n subnets.Subnet) any { return n.CIDR }},
	{"Gateway", func(n subnets.Subnet) any { return n.GatewayIP }},
	{"Pools", func(n subnets.Subnet) any { return poolTexts(n.AllocationPools) }},
	{"DNS", func(n subnets.Subnet) any { return n.DNSNameservers }},
}

func poolTexts(pools []subnets.AllocationPool) []string {
	out := []string{}
	for _, p := range pools {
		out = append(out, p.Start+"-"+p.End)
	}
	return out
}

func (c *cloud) subnets(ctx context.Context, opts subnets.ListOpts) ([]subnets.Subnet, error) {
	s, err := c.network()
	if err != nil {
		return nil, err
	}
	pages, err := subnets.List(s, opts).AllPages(ctx)
	if err != nil {
		return nil, doing("list subnets", err)
	}
	return subnets.ExtractSubnets(pages)
}

func (c *cloud) deleteSubnet(ctx context.Context, arg string) error {
	all, err := c.subnets(ctx, subnets.ListOpts{})
	if err != nil {
		return err
	}
	found, err := resolve("subnet", arg, all, func(n subnets.Subnet) named { return named{n.ID, n.Name} })
	if err != nil {
		return err
	}
	s, err := c.network()
	if err != nil {
		return err
	}
	return doing("delete subnet "+arg, subnets.Delete(ctx, s, found.ID).ExtractErr())
}

// subnetRequest is what the flags of `subnet create` say.
type subnetRequest struct {
	network, cidr, gateway string
	pools, dns             []string
	noDHCP                 bool
}

func newSubnetCreateCommand(f *cloudFlags) *cobra.Command {
	var q subnetRequest
	cmd := f.command("create NAME", "Create a subnet", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		opts, err := q.options(args[0])
		if err != nil {
			return err
		}
		n, err := c.findNetwork(cmd.Context(), q.network)
		if err != nil {
			return err
		}
		opts.NetworkID = n.ID
		s, err := c.network()
		if err != nil {
			return err
		}
		made, err := subnets.Create(cmd.Context(), s, opts).Extract()
		if err != nil {
			return doing("create subnet "+args[0], err)
		}
		return printOne(c.out, subnetColumns, *made)
	})
	cmd.Example = `  kilonova subnet create lan --network lan --range 192.0.2.0/24 --gateway 192.0.2.1 --pool 192.0.2.100-192.0.2.200 --dns 192.0.2.1`
	fl := cmd.Flags()
	fl.StringVar(&q.network, "network", "", "network, by name or ID")
	fl.StringVar(&q.cidr, "range", "", "addresses, e.g. 192.0.2.0/24")
	fl.StringVar(&q.gateway, "gateway", "", "address of the router, or none (default: the first of the range)")
	fl.StringArrayVar(&q.pools, "pool", nil, "addresses for guests, FIRST-LAST; may be given more than once (default: all but the gateway)")
	fl.StringArrayVar(&q.dns, "dns", nil, "address of a name server; may be given more than once")
	fl.BoolVar(&q.noDHCP, "no-dhcp", false, "tell guests not to ask for DHCP")
	required(cmd, "network", "range")
	return cmd
}

func (q *subnetRequest) options(name string) (subnets.CreateOpts, error) {
	opts := subnets.CreateOpts{Name: name, CIDR: q.cidr, DNSNameservers: q.dns, IPVersion: gophercloud.IPv4}
	p, err := netip.ParsePrefix(q.cidr)
	if err != nil {
		return opts, usagef("--range %q is not a range of addresses, e.g. 192.0.2.0/24", q.cidr)
	}
	if p.Addr().Is6() {
		opts.IPVersion = gophercloud.IPv6
	}
	switch q.gateway {
	case "":
	case "none":
		none := ""
		opts.GatewayIP = &none
	default:
		opts.GatewayIP = &q.gateway
	}
	for _, pool := range q.pools {
		first, last, ok := strings.Cut(pool, "-")
		if !ok {
			return opts, usagef("--pool %q is not FIRST-LAST", pool)
		}
		opts.AllocationPools = append(opts.AllocationPools, subnets.AllocationPool{Start: first, End: last})
	}
	if q.noDHCP {
		dhcp := false
		opts.EnableDHCP = &dhcp
	}
	return opts, nil
}
