package main

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// completionTime is how long a shell waits for names.
const completionTime = 3 * time.Second

// lister gives the names of all things of a kind.
type lister func(ctx context.Context, c *cloud) ([]string, error)

// listers are by the word that stands in usage lines.
var listers = map[string]lister{
	"SERVER": func(ctx context.Context, c *cloud) ([]string, error) {
		all, err := c.servers(ctx, servers.ListOpts{})
		return namesOf(all, func(s servers.Server) string { return s.Name }), err
	},
	"IMAGE": func(ctx context.Context, c *cloud) ([]string, error) {
		all, err := c.images(ctx, images.ListOpts{})
		return namesOf(all, func(i images.Image) string { return i.Name }), err
	},
	"FLAVOR": func(ctx context.Context, c *cloud) ([]string, error) {
		all, err := c.flavors(ctx)
		return namesOf(all, func(x flavors.Flavor) string { return x.Name }), err
	},
	"NETWORK": func(ctx context.Context, c *cloud) ([]string, error) {
		all, err := c.networks(ctx, networks.ListOpts{})
		return namesOf(all, func(n cloudNetwork) string { return n.Name }), err
	},
	"SUBNET": func(ctx context.Context, c *cloud) ([]string, error) {
		all, err := c.subnets(ctx, subnets.ListOpts{})
		return namesOf(all, func(s subnets.Subnet) string { return s.Name }), err
	},
	"KEYPAIR": func(ctx context.Context, c *cloud) ([]string, error) {
		all, err := c.keypairs(ctx)
		return namesOf(all, func(k keypairs.KeyPair) string { return k.Name }), err
	},
}

func namesOf[T any](all []T, name func(T) string) []string {
	out := make([]string, 0, len(all))
	for _, x := range all {
		out = append(out, name(x))
	}
	return out
}

// completeArguments completes the arguments of a command that uses the cloud: names of what its usage line says.
func (f *cloudFlags) completeArguments(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	kind := argumentAt(cmd, len(args))
	names, directive := f.complete(kind)(cmd, args, begun)
	return without(names, args), directive
}

// complete gives the names of a kind, for arguments and for flags.
func (f *cloudFlags) complete(kind string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		list, ok := listers[kind]
		if !ok {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		cmd.SetContext(ctx)
		c, err := f.connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer c.close()
		names, err := list(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return offered(names, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlags completes flags with names; kinds are by the flag.
func (f *cloudFlags) completeFlags(cmd *cobra.Command, kinds map[string]string) {
	for flag, kind := range kinds {
		// It fails only for a flag that does not exist.
		_ = cmd.RegisterFlagCompletionFunc(flag, f.complete(kind))
	}
}

// completeLocal completes the arguments of a command that asks the node on this machine: names of nodes, or the IDs of tokens.
func completeLocal(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	dir, err := dataDir(cmd.Flags())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	var names []string
	switch argumentAt(cmd, len(args)) {
	case "NODE":
		var res struct{ Nodes []clusterapi.Node }
		_, err = newLocal(dir).send(ctx, "GET", "/nodes", nil, &res, consistency, "stale")
		names = namesOf(res.Nodes, func(n clusterapi.Node) string { return n.Name })
	case "ID":
		var res struct{ Tokens []clusterapi.Token }
		_, err = newLocal(dir).send(ctx, "GET", "/tokens", nil, &res, consistency, "stale")
		names = namesOf(res.Tokens, func(t clusterapi.Token) string { return string(t.ID) })
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return without(offered(names, begun), args), cobra.ShellCompDirectiveNoFileComp
}

// argumentAt is the name of a command's argument at a place; "" when it takes none there.
func argumentAt(cmd *cobra.Command, at int) string {
	switch want := argumentsOf(cmd); {
	case at < len(want):
		return want[at].name
	case len(want) > 0 && want[len(want)-1].many:
		return want[len(want)-1].name
	}
	return ""
}

// offered are the names that begin as what was typed, each once. Names are anybody's: one with a control character would be a line of its
// own to the shell.
func offered(names []string, begun string) []string {
	var out []string
	for _, name := range names {
		if name != "" && strings.HasPrefix(name, begun) && !strings.ContainsFunc(name, unicode.IsControl) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func without(names, taken []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(taken, name) })
}
