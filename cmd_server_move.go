package main

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/spf13/cobra"
)

// statusMoved is the status of a server that was resized or migrated and waits for its user's word.
const statusMoved = "VERIFY_RESIZE"

func newResizeCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	var flavor string
	cmd := f.command("resize SERVER", "Give a server another flavor", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		to, err := c.findFlavor(cmd.Context(), flavor)
		if err != nil {
			return err
		}
		return c.serverActionOn(cmd.Context(), args[0], "resize", statusMoved, w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.Resize(ctx, s, id, servers.ResizeOpts{FlavorRef: to.ID}).ExtractErr()
		})
	})
	cmd.Long = `Gives a server another flavor, on another node or the same one. The server is off meanwhile. Afterwards it runs with the new
flavor, and waits for "kilonova server confirm" or "kilonova server revert"; its old disk stays until then.`
	cmd.Example = `  kilonova server resize web-1 --flavor large --wait && kilonova server confirm web-1`
	cmd.Flags().StringVar(&flavor, "flavor", "", "the new flavor, by name or ID")
	w.add(cmd)
	required(cmd, "flavor")
	f.completeFlags(cmd, map[string]string{"flavor": "FLAVOR"})
	return cmd
}

func newMigrateCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	var host string
	var live bool
	cmd := f.command("migrate SERVER", "Move a server to another node (administrators only)", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		becomes, what, body := statusMoved, "migrate", map[string]any{"migrate": map[string]any{}}
		to := any(nil)
		if host != "" {
			to, body = host, map[string]any{"migrate": map[string]any{"host": host}}
		}
		if live {
			becomes, what = "", "live-migrate"
			body = map[string]any{"os-migrateLive": map[string]any{"host": to, "block_migration": "auto"}}
		}
		return c.serverActionOn(cmd.Context(), args[0], what, becomes, w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return actOn(ctx, s, id, body)
		})
	})
	cmd.Long = `Moves a server to another node. Without --live it is off meanwhile, and waits afterwards for "kilonova server confirm" or
"kilonova server revert". With --live it goes on running, its local disks move with it, and there is nothing to confirm.`
	cmd.Example = `  kilonova server migrate web-1 --live --wait
  kilonova server migrate web-1 --host node-3`
	cmd.Flags().BoolVar(&live, "live", false, "while it runs")
	cmd.Flags().StringVar(&host, "host", "", "to this node (default: whichever fits)")
	w.add(cmd)
	return cmd
}

func newUnshelveCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	var zone, host string
	cmd := f.command("unshelve SERVER", "Bring a shelved server back", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		where := map[string]any{}
		if zone != "" {
			where["availability_zone"] = zone
		}
		if host != "" {
			where["host"] = host
		}
		return c.serverActionOn(cmd.Context(), args[0], "unshelve", "ACTIVE", w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			if s.Microversion = unshelveVersion; len(where) == 0 {
				return actOn(ctx, s, id, map[string]any{"unshelve": nil})
			}
			return actOn(ctx, s, id, map[string]any{"unshelve": where})
		})
	})
	cmd.Flags().StringVar(&zone, "availability-zone", "", "in this zone")
	cmd.Flags().StringVar(&host, "host", "", "on this node (administrators only)")
	w.add(cmd)
	return cmd
}

// unshelveVersion is the microversion in which a node can be named.
const unshelveVersion = "2.91"
