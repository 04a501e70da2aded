package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/spf13/cobra"
)

func newServerCommand() *cobra.Command {
	f := &cloudFlags{}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Create and look after servers: the instances of the cloud",
	}
	f.add(cmd)
	cmd.AddCommand(newServerCreateCommand(f), newServerListCommand(f), newServerShowCommand(f), newServerDeleteCommand(f),
		newConsoleLogCommand(f), newServerConsoleCommand(f), newServerRebootCommand(f),
		newServerPowerCommand(f, "start", "Start servers that are shut off", "ACTIVE",
			func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
				return servers.Start(ctx, s, id).ExtractErr()
			}),
		newServerPowerCommand(f, "stop", "Shut servers down", "SHUTOFF",
			func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
				return servers.Stop(ctx, s, id).ExtractErr()
			}))
	cmd.AddCommand(newServerActionCommands(f)...)
	cmd.AddCommand(newResizeCommand(f), newMigrateCommand(f), newUnshelveCommand(f), newRebuildCommand(f), newRescueCommand(f),
		newSnapshotCommand(f), newBackupCommand(f))
	return cmd
}

// defaultWait is how long --wait waits.
const defaultWait = 10 * time.Minute

// waitFlags are the flags of commands that can wait until something is done.
type waitFlags struct {
	wait  bool
	limit time.Duration
}

func (w *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until it is done")
	cmd.Flags().DurationVar(&w.limit, "timeout", defaultWait, "how long --wait waits")
}

// serverRow is a server with the name of its image.
type serverRow struct {
	servers.Server
	image   string
	replica string // where the copy of its disk is, and what it is good for
}

func serverColumns(all bool) []column[serverRow] {
	columns := []column[serverRow]{
		{"ID", func(s serverRow) any { return s.ID }},
		{"Name", func(s serverRow) any { return s.Name }},
		{"Status", func(s serverRow) any { return s.Status }},
		{"Addresses", func(s serverRow) any { return addresses(s.Addresses) }},
		{"Image", func(s serverRow) any { return s.image }},
		{"Flavor", func(s serverRow) any { return flavorOf(s.Flavor) }},
		{"Host", func(s serverRow) any { return s.HypervisorHostname }},
	}
	if all {
		columns = append(columns, column[serverRow]{"Project", func(s serverRow) any { return s.TenantID }})
	}
	return columns
}

func serverDetails() []column[serverRow] {
	return append(serverColumns(true), []column[serverRow]{
		{"Task", func(s serverRow) any { return s.TaskState }},
		{"Fault", func(s serverRow) any { return s.Fault.Message }},
		{"Fault details", func(s serverRow) any { return s.Fault.Details }},
		{"Zone", func(s serverRow) any { return s.AvailabilityZone }},
		{"Key", func(s serverRow) any { return s.KeyName }},
		{"Replica", func(s serverRow) any { return s.replica }},
		{"Properties", func(s serverRow) any { return s.Metadata }},
		{"Created", func(s serverRow) any { return s.Created }},
		{"Updated", func(s serverRow) any { return s.Updated }},
	}...)
}

// addresses are those of a server, each with its network: lan=10.0.0.5.
func addresses(networks map[string]any) []string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(networks)) {
		list, _ := networks[name].([]any)
		for _, entry := range list {
			if a, ok := entry.(map[string]any); ok {
				out = append(out, fmt.Sprintf("%s=%v", name, a["addr"]))
			}
		}
	}
	return out
}

// flavorOf is the name that a server's flavor had when the server was made.
func flavorOf(flavor map[string]any) string {
	for _, field := range []string{"original_name", "id"} {
		if text, ok := flavor[field].(string); ok {
			return text
		}
	}
	return ""
}

// rows names the images of servers. Those that the user may not see keep their ID.
func (c *cloud) rows(ctx context.Context, list ...servers.Server) ([]serverRow, error) {
	names := map[string]string{}
	if len(list) > 0 {
		all, err := c.images(ctx, images.ListOpts{})
		if err != nil {
			return nil, err
		}
		for _, i := range all {
			names[i.ID] = i.Name
		}
	}
	out := make([]serverRow, 0, len(list))
	for _, s := range list {
		row := serverRow{Server: s}
		if id, ok := s.Image["id"].(string); ok {
			row.image = id
			if name := names[id]; name != "" {
				row.image = name
			}
		}
		out = append(out, row)
	}
	return out, nil
}

func (c *cloud) servers(ctx context.Context, opts servers.ListOptsBuilder) ([]servers.Server, error) {
	s, err := c.compute()
	if err != nil {
		return nil, err
	}
	pages, err := servers.List(s, opts).AllPages(ctx)
	if err != nil {
		return nil, doing("list servers", err)
	}
	return servers.ExtractServers(pages)
}

// findServer finds a server by its ID or its name.
func (c *cloud) findServer(ctx context.Context, arg string) (servers.Server, error) {
	s, err := c.compute()
	if err != nil {
		return servers.Server{}, err
	}
	if isUUID(arg) {
		found, err := servers.Get(ctx, s, arg).Extract()
		if err == nil {
			return *found, nil
		}
		if err = doing("find server "+arg, err); !isMissing(err) {
			return servers.Server{}, err
		}
	}
	all, err := c.servers(ctx, servers.ListOpts{Name: "^" + regexp.QuoteMeta(arg) + "$"}) // Nova takes an expression
	if err != nil {
		return servers.Server{}, err
	}
	return resolve("server", arg, all, func(s servers.Server) named { return named{s.ID, s.Name} })
}

func newServerListCommand(f *cloudFlags) *cobra.Command {
	var opts servers.ListOpts
	cmd := f.command("list", "List servers", cobra.NoArgs, func(cmd *cobra.Command, c *cloud, _ []string) error {
		list, err := c.servers(cmd.Context(), opts)
		if err != nil {
			return err
		}
		rows, err := c.rows(cmd.Context(), list...)
		if err != nil {
			return err
		}
		return printList(c.out, serverColumns(opts.AllTenants), rows)
	})
	cmd.Example = `  kilonova server list
  kilonova server list --all --host node-2     # an administrator: of every project, on one node`
	cmd.Flags().BoolVar(&opts.AllTenants, "all", false, "of all projects (administrators only)")
	cmd.Flags().StringVar(&opts.Host, "host", "", "only those on this node (administrators only)")
	cmd.Flags().StringVar(&opts.Status, "status", "", "only those with this status, e.g. ACTIVE")
	return cmd
}

func newServerShowCommand(f *cloudFlags) *cobra.Command {
	return f.command("show SERVER", "Show a server, by name or ID", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		s, err := c.findServer(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return c.showServer(cmd.Context(), s)
	})
}

func (c *cloud) showServer(ctx context.Context, s servers.Server) error {
	rows, err := c.rows(ctx, s)
	if err != nil {
		return err
	}
	if rows[0].replica, err = c.replicaOf(ctx, s); err != nil {
		return err
	}
	return printOne(c.out, serverDetails(), rows[0])
}

func newServerDeleteCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	cmd := f.command("delete SERVER...", "Delete servers, by name or ID", cobra.MinimumNArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		return c.each(cmd.Context(), args, func(ctx context.Context, arg string) error {
			found, err := c.findServer(ctx, arg)
			if err != nil {
				return err
			}
			s, err := c.compute()
			if err != nil {
				return err
			}
			if err := doing("delete server "+arg, servers.Delete(ctx, s, found.ID).ExtractErr()); err != nil || !w.wait {
				return err
			}
			return c.wait(ctx, "server "+arg, w.limit, func(ctx context.Context) (string, bool, error) {
				now, err := servers.Get(ctx, s, found.ID).Extract()
				if err = doing("watch server "+arg, err); isMissing(err) {
					return "gone", true, nil
				}
				if err != nil {
					return "", false, err
				}
				return now.Status, false, nil
			})
		})
	})
	w.add(cmd)
	return cmd
}

func newServerPowerCommand(f *cloudFlags, verb, short, becomes string, act func(context.Context, *gophercloud.ServiceClient, string) error) *cobra.Command {
	var w waitFlags
	cmd := f.command(verb+" SERVER...", short, cobra.MinimumNArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		return c.each(cmd.Context(), args, func(ctx context.Context, arg string) error {
			found, err := c.findServer(ctx, arg)
			if err != nil {
				return err
			}
			s, err := c.compute()
			if err != nil {
				return err
			}
			if err := doing(verb+" server "+arg, act(ctx, s, found.ID)); err != nil || !w.wait {
				return err
			}
			return c.finish(ctx, s, found, becomes, w.limit)
		})
	})
	w.add(cmd)
	return cmd
}

// settle waits until nothing is being done to a server, which then has to have a status; an empty one is any. A server that
// has another, or is in ERROR, is an error, which says why.
func (c *cloud) settle(ctx context.Context, s *gophercloud.ServiceClient, server servers.Server, becomes string, limit time.Duration) (servers.Server, error) {
	err := c.wait(ctx, "server "+server.Name, limit, func(ctx context.Context) (string, bool, error) {
		now, err := servers.Get(ctx, s, server.ID).Extract()
		if err != nil {
			return "", false, doing("watch server "+server.Name, err)
		}
		server = *now
		switch {
		case now.Status == "ERROR":
			return "", false, fmt.Errorf("server %s is in ERROR: %s", now.Name, fault(now.Fault))
		case now.TaskState != "":
			return now.Status + ", " + now.TaskState, false, nil
		case becomes == "" || now.Status == becomes:
			return now.Status, true, nil
		case now.Status == "BUILD":
			return now.Status, false, nil
		}
		return "", false, errors.Join(fmt.Errorf("server %s is %s instead of %s", now.Name, now.Status, becomes), c.failure(ctx, s, *now))
	})
	return server, err
}

func fault(f servers.Fault) string {
	text := oneLine(f.Message)
	if f.Details != "" && f.Details != f.Message {
		text += " (" + oneLine(f.Details) + ")"
	}
	if text == "" {
		return "the cloud does not say why"
	}
	return text
}

func newServerRebootCommand(f *cloudFlags) *cobra.Command {
	var hard bool
	reboot := func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
		how := servers.SoftReboot
		if hard {
			how = servers.HardReboot
		}
		return servers.Reboot(ctx, s, id, servers.RebootOpts{Type: how}).ExtractErr()
	}
	cmd := newServerPowerCommand(f, "reboot", "Reboot servers", "ACTIVE", reboot)
	cmd.Flags().BoolVar(&hard, "hard", false, "as if by the power button, without asking the guest")
	return cmd
}

func newConsoleLogCommand(f *cloudFlags) *cobra.Command {
	var lines int
	cmd := f.command("console-log SERVER", "Print what a server wrote to its serial console", cobra.ExactArgs(1),
		func(cmd *cobra.Command, c *cloud, args []string) error {
			found, err := c.findServer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s, err := c.compute()
			if err != nil {
				return err
			}
			text, err := servers.ShowConsoleOutput(cmd.Context(), s, found.ID, servers.ShowConsoleOutputOpts{Length: lines}).Extract()
			if err != nil {
				return doing("read the console of server "+args[0], err)
			}
			if c.out.json {
				return printJSON(c.out.to, map[string]string{"output": text})
			}
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			_, err = io.WriteString(c.out.to, text)
			return err
		})
	cmd.Flags().IntVar(&lines, "lines", 0, "only the last so many lines (0: all that is kept)")
	return cmd
}
