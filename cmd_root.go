package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kilonova",
		Short: "A compute cloud of equal machines, with OpenStack's API",
		Long: `Kilonova is OpenStack Nova without control-plane machines. Every hypervisor host runs this binary; the
hosts agree among themselves, and any of them answers OpenStack's API.

On the first host:    kilonova node init --bind 192.0.2.11
                      kilonova node token create
On every other host:  kilonova node join 192.0.2.11 --token kn1... --bind 192.0.2.12
Then, from anywhere:  openstack --os-cloud kilonova server list`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(&cobra.Group{ID: "cloud", Title: "Use the cloud:"}, &cobra.Group{ID: "node", Title: "Run it:"})
	for _, cmd := range []*cobra.Command{
		newServerCommand(), newImageCommand(), newFlavorCommand(), newNetworkCommand(), newSubnetCommand(), newKeypairCommand(),
		newVolumeCommand(),
	} {
		cmd.GroupID = "cloud"
		root.AddCommand(cmd)
	}
	nodes := newNodeCommand()
	nodes.GroupID = "node"
	whole := newClusterCommand()
	whole.GroupID = "node"
	root.AddCommand(nodes, whole)
	return root
}

// execute runs a command line. What goes wrong before a command begins is a fault of how it was called.
func execute(ctx context.Context, root *cobra.Command) error {
	began := false
	eachCommand(root, func(cmd *cobra.Command) {
		if run := cmd.RunE; run != nil {
			if count := cmd.Args; count != nil {
				cmd.Args = func(cmd *cobra.Command, args []string) error { return nameArgument(cmd, args, count(cmd, args)) }
			}
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				began = true
				return run(cmd, args)
			}
		} else if cmd.Run == nil && cmd.HasSubCommands() && cmd.HasParent() {
			cmd.Args, cmd.RunE, cmd.DisableFlagsInUseLine = cobra.ArbitraryArgs, helpOrRefuse, true
			cmd.SuggestionsMinimumDistance = 2
		}
	})
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil || began {
		return err
	}
	return usageError{fmt.Errorf("%w (`%s --help` says how it is called)", err, cmd.CommandPath())}
}

func eachCommand(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		eachCommand(c, do)
	}
}

// helpOrRefuse is what a group of commands does: cobra would show the help for a command that does not exist, and call it
// a success.
func helpOrRefuse(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, ", "))
	}
	return err
}

// newLogger logs to standard error, in text for people.
func newLogger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}
