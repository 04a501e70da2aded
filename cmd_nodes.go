package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// localCommand is a command that asks the node on this machine.
func localCommand(use, short string, args cobra.PositionalArgs, do func(cmd *cobra.Command, l *local, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  args,

		ValidArgsFunction: completeLocal,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := dataDir(cmd.Flags())
			if err != nil {
				return err
			}
			return do(cmd, newLocal(dir), args)
		},
	}
	addDataDir(cmd.Flags(), new(string))
	return cmd
}

func newNodeListCommand() *cobra.Command {
	return localCommand("list", "List the nodes of the cluster", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		var res struct{ Nodes []clusterapi.Node }
		if err := l.look(cmd.Context(), cmd.ErrOrStderr(), "/nodes", &res); err != nil {
			return err
		}
		if err := l.tellRotations(cmd.Context(), cmd.ErrOrStderr()); err != nil {
			return err
		}
		return table(cmd.OutOrStdout(), "NAME\tADDRESS\tZONE\tROLE\tSTATE\tRAFT\tSTATUS\tINSTANCES\tVCPU\tMEMORY MiB\tDISK GiB", func(w io.Writer) {
			for _, n := range res.Nodes {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d/%d\t%d/%d\t%d/%d\n", n.Name, n.Address, n.Zone, n.Role, state(n), n.Part, n.Status, n.Instances,
					n.Used.VCPUs, n.Limit.VCPUs, n.Used.MemoryMiB, n.Limit.MemoryMiB, n.Used.DiskGiB, n.Limit.DiskGiB)
			}
		})
	})
}

func state(n clusterapi.Node) string {
	if n.SilentFor != "" {
		return n.State + " " + n.SilentFor
	}
	return n.State
}

// table prints aligned columns.
func table(to io.Writer, header string, rows func(io.Writer)) error {
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, header)
	rows(w)
	return w.Flush()
}

func newNodeShowCommand() *cobra.Command {
	return localCommand("show NODE", "Show a node, by name or ID", cobra.ExactArgs(1), func(cmd *cobra.Command, l *local, args []string) error {
		var res struct{ Node json.RawMessage }
		if err := l.look(cmd.Context(), cmd.ErrOrStderr(), "/nodes/"+url.PathEscape(args[0]), &res); err != nil {
			return err
		}
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(res.Node)
	})
}

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Make and withdraw the tokens that machines join with"}
	cmd.AddCommand(newTokenCreateCommand(),
		localCommand("list", "List the join tokens", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
			var res struct{ Tokens []clusterapi.Token }
			if err := l.call(cmd.Context(), http.MethodGet, "/tokens", nil, &res); err != nil {
				return err
			}
			return table(cmd.OutOrStdout(), "ID\tUSES LEFT\tEXPIRES", func(w io.Writer) {
				for _, t := range res.Tokens {
					fmt.Fprintf(w, "%s\t%d\t%s\n", t.ID, t.Uses, t.Expires.Format(time.RFC3339))
				}
			})
		}),
		localCommand("delete ID", "Withdraw a join token", cobra.ExactArgs(1), func(cmd *cobra.Command, l *local, args []string) error {
			return l.call(cmd.Context(), http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, nil)
		}))
	return cmd
}

func newTokenCreateCommand() *cobra.Command {
	var uses int
	var ttl time.Duration
	var zone string
	cmd := localCommand("create", "Make a join token and print it", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		in := map[string]any{"uses": uses, "ttl": ttl.String(), "zone": zone}
		var t clusterapi.Token
		if err := l.call(cmd.Context(), http.MethodPost, "/tokens", in, &t); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), t.Text)
		return nil
	})
	cmd.Long = `Makes a token for a machine to join with, and prints it. It is good for one machine and one hour, unless told
otherwise, and for this cluster only: whoever has it can add a machine, so hand it over with care.`
	cmd.Flags().IntVar(&uses, "uses", 1, "how many machines may join with it")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it lasts")
	cmd.Flags().StringVar(&zone, "zone", "", "availability zone of the machines, unless they name one")
	return cmd
}
