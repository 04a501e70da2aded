package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/node"
)

func newNodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Make, join and look after the machines of the cluster",
	}
	cmd.AddCommand(
		newInitCommand(), newJoinCommand(), newRunCommand(), newLeaveCommand(), newTokenCommand(),
		newNodeListCommand(), newNodeShowCommand(), newConfirmDeadCommand(), newWatchdogCommand(), newDrainCommand(true), newDrainCommand(false), newRemoveCommand(), newRecoverCommand(),
	)
	return cmd
}

func newInitCommand() *cobra.Command {
	var s settings
	var enrolOnly bool
	var backup string
	cmd := &cobra.Command{
		Use:   "init --bind ADDRESS",
		Short: "Make a new cluster with this machine as its first node, then run it",
		Long: `Makes a new cluster: its identity, its certificate authority, its first administrator. It is the only command
that ever does; "node join" adds the other machines. Then it runs the node in the foreground until it is
interrupted; virtual machines go on running. Run again on the same data directory, it resumes. The settings given
here, such as --bridge, are remembered there for "node run" and systemd.

With --restore it makes the cluster out of a backup ("kilonova cluster backup") of another one that is lost. It is a new cluster, with an ID, an
authority and keys of its own, that remembers what the former one knew.`,
		Example: `  kilonova node init --bind 192.0.2.11 --bridge lan=br0
  kilonova node init --bind 192.0.2.11 --restore /root/cloud.backup`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := given(cmd.Flags())
			cfg, err := s.config(cmd)
			if err != nil {
				return err
			}
			var clouds string
			if backup != "" {
				clouds, err = restore(cmd.OutOrStdout(), cfg, backup)
			} else {
				clouds, err = node.Init(cfg)
			}
			if err != nil {
				return err
			}
			if err := remember(cmd.Flags(), flags); err != nil {
				return err
			}
			greet(cmd.OutOrStdout(), clouds, cfg.DataDir)
			if enrolOnly {
				return nil
			}
			return run(cmd.Context(), cfg)
		},
	}
	s.addFlags(cmd)
	cmd.Flags().BoolVar(&enrolOnly, "enrol-only", false, "do not run the node: systemd will")
	cmd.Flags().StringVar(&backup, "restore", "", "backup of a lost cluster to make the new one of")
	return cmd
}

// greet says where the credentials are, and what to type next.
func greet(w io.Writer, clouds, dataDir string) {
	token := "kilonova node token create"
	if dataDir != node.DefaultDataDir {
		token += " --data-dir " + dataDir
	}
	fmt.Fprintf(w, `The cluster is made. Its administrator's credentials are in
  %[1]s
Next:
  %[3]s                 # on this machine: for the next one to join with
  OS_CLIENT_CONFIG_FILE=%[1]s openstack --os-cloud %[2]s hypervisor list
`, clouds, node.CloudName, token)
}

func newJoinCommand() *cobra.Command {
	var s settings
	var token string
	var enrolOnly bool
	cmd := &cobra.Command{
		Use:   "join NODE[:PORT] --token TOKEN --bind ADDRESS",
		Short: "Add this machine to the cluster that a token names, then run it",
		Long: `Adds this machine to a cluster, through any node of it. The token comes from "kilonova node token create" on a
node of the cluster; it names the cluster, so the secret in it is shown to no other. Then it runs the node in
the foreground until it is interrupted. Run again on the same data directory, it resumes. The settings given here,
such as --bridge, are remembered there for "node run" and systemd.`,
		Example: `  kilonova node join 192.0.2.11 --token kn1.AbC... --bind 192.0.2.12 --bridge lan=br0`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags := given(cmd.Flags())
			cfg, err := s.config(cmd)
			if err != nil {
				return err
			}
			if err := node.Join(cmd.Context(), cfg, args[0], token); err != nil {
				return err
			}
			if err := remember(cmd.Flags(), flags); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "This machine is a node of the cluster.")
			if enrolOnly {
				return nil
			}
			return run(cmd.Context(), cfg)
		},
	}
	s.addFlags(cmd)
	cmd.Flags().StringVar(&token, "token", "", "join token; as KILONOVA_TOKEN in the environment, other users of this machine do not see it")
	cmd.Flags().BoolVar(&enrolOnly, "enrol-only", false, "do not run the node: systemd will")
	return cmd
}

func newRunCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run this machine's node (what systemd does)",
		Long: `Runs an enrolled node in the foreground until it is interrupted. Virtual machines go on running when it stops, and
are found again when it starts. A flag goes before an environment variable (--bridge is KILONOVA_BRIDGE), a variable
before the configuration file, and that before what was given to "node init" or "node join" and is remembered in
settings.yaml in the data directory.

A machine that has another address now says both once: --bind NEW --moved-from OLD. Its virtual machines are not touched. A copy of a data directory is no move:
two nodes with one identity would agree to things that contradict each other.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.config(cmd)
			if err != nil {
				return err
			}
			return run(cmd.Context(), cfg)
		},
	}
	s.addFlags(cmd)
	cmd.Flags().StringVar(&s.cfg.MovedFrom, "moved-from", "", "address that this machine had until now, when --bind is another one")
	return cmd
}

func run(ctx context.Context, cfg node.Config) error { return node.Run(ctx, cfg) }
