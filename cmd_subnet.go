package main

import (
	"context"
	"net/netip"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/spf13/cobra"
)

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
	f.completeFlags(cmd, map[string]string{"network": "NETWORK"})
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
