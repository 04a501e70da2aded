package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/node/lease"
)

func newClusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look after the cluster as a whole"}
	cmd.AddCommand(newShowCommand(), newSettingsCommand(), newCheckCommand(), newRotateGossipCommand(), newRotateAuthorityCommand(),
		newClusterBackupCommand(), newConfirmRestoreCommand())
	return cmd
}

func newSettingsCommand() *cobra.Command {
	var stop, kill, dead string
	var restarts, reserve int
	cmd := localCommand("settings", "Show or change what holds for the whole cluster", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		var res struct{ Settings clusterapi.Settings }
		want := clusterapi.Settings{Stop: stop, Kill: kill, Dead: dead}
		if cmd.Flags().Changed("restarts") {
			want.Restarts = &restarts
		}
		if cmd.Flags().Changed("reserve-nodes") {
			want.Reserve = &reserve
		}
		var err error
		if want == (clusterapi.Settings{}) {
			err = l.look(cmd.Context(), cmd.ErrOrStderr(), "/settings", &res)
		} else {
			err = l.call(cmd.Context(), http.MethodPut, "/settings", map[string]any{"settings": want}, &res)
		}
		if err != nil {
			return err
		}
		return table(cmd.OutOrStdout(), "SETTING\tVALUE\tMEANING", func(w io.Writer) {
			s := res.Settings
			fmt.Fprintf(w, "lease-stop\t%s\ta node without the leader's word ends its guarded instances after it\n", s.Stop)
			fmt.Fprintf(w, "lease-kill\t%s\tending them takes so long at most\n", s.Kill)
			fmt.Fprintf(w, "lease-dead\t%s\ta silent node's guarded instances are started elsewhere after it (at least %s)\n", s.Dead, s.Least)
			if s.Former != "" {
				fmt.Fprintf(w, "\t%s\tthe same, of nodes that have not heard of a change yet\n", s.Former)
			}
			fmt.Fprintf(w, "restarts\t%d\tinstances are started elsewhere at the same time\n", *s.Restarts)
			if s.Reserve != nil {
				fmt.Fprintf(w, "reserve-nodes\t%d\troom is kept to start elsewhere what is guarded when so many nodes are lost\n", *s.Reserve)
			}
		})
	})
	cmd.Long = `Shows what holds for the whole cluster, or changes it when a flag is given. A node that the leader has not heard for lease-dead is taken for dead,
and those of its instances that ask for it (flavor extra spec or server property kilonova:ha=true, all disks on shared volumes) are
started elsewhere. By then the node has ended them itself: lease-dead must be at least
(lease-stop + lease-kill) x 1.05 + lease-stop / 10. Without --lease-dead, it becomes just that.`
	cmd.Example = `  kilonova cluster settings
  kilonova cluster settings --lease-stop 2500ms --lease-kill 1s --lease-dead 5s`
	cmd.Flags().StringVar(&stop, "lease-stop", "", "how long a node goes on without the leader's word")
	cmd.Flags().StringVar(&kill, "lease-kill", "", "how long a node takes at most to end its instances")
	cmd.Flags().StringVar(&dead, "lease-dead", "", "how long a node is silent until it is taken for dead")
	cmd.Flags().IntVar(&reserve, "reserve-nodes", 0, "for the loss of how many nodes room is kept; new and larger servers that would use it find no host")
	cmd.Flags().IntVar(&restarts, "restarts", 0, "how many instances are started elsewhere at the same time")
	return cmd
}

// errWouldSuffer gives "cluster check" its exit status.
var errWouldSuffer = errors.New("the loss of a node would hurt: see above")

func newCheckCommand() *cobra.Command {
	cmd := localCommand("check", "Say of each node what its loss would mean", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		var res clusterapi.Check
		if err := l.call(cmd.Context(), http.MethodGet, "/check", nil, &res); err != nil {
			return err
		}
		hurt := false
		err := table(cmd.OutOrStdout(), "WITHOUT\tSTARTED ELSEWHERE\tWITHOUT ROOM\tTIED TO IT\tWAITING\tCOPIES\tQUORUM", func(w io.Writer) {
			for _, f := range res.Nodes {
				quorum := "kept"
				if !f.Quorum {
					quorum = "LOST"
				}
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", f.Node, f.Restarted, len(f.Homeless), len(f.Tied), f.Waiting, f.Replicas, quorum)
				hurt = hurt || !f.Quorum || len(f.Homeless)+len(f.Tied) > 0
			}
		})
		for _, f := range res.Nodes {
			for _, id := range f.Homeless {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: no other node has room for %s\n", f.Node, id)
			}
			for _, why := range f.Tied {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: asks to be started elsewhere and cannot: %s\n", f.Node, why)
			}
		}
		if c := res.Replicas; c.Asked > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "Of %d servers that ask for a copy of their disk, %d have a current one.\n", c.Asked, c.Current)
		}
		if n := res.Reserve.Nodes; n > 0 {
			said := "is there"
			if !res.Reserve.Kept {
				said, hurt = "is NOT there: nothing new is placed", true
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The room that is kept for the loss of any %d (--reserve-nodes) %s.\n", n, said)
			fmt.Fprintln(cmd.OutOrStdout(), "It counts vCPUs, memory and disk alone: not zones, traits or server groups, nor where replicas of disks are.")
		}
		if err := errors.Join(l.tellTroubles(cmd.Context(), cmd.OutOrStdout()), l.tellRotations(cmd.Context(), cmd.OutOrStdout())); err != nil {
			return err
		}
		if err == nil && hurt {
			err = errWouldSuffer
		}
		return err
	})
	cmd.Long = `Says of each node what would happen if it died now: how many of its instances would be started elsewhere, for how many there is no
room, which ask for it and cannot because something of theirs is on that node alone, how many wait for the node, of how many other
nodes' servers it keeps the current copy of the disk (another is made then), and whether the others could still agree. The exit status is 1 when a loss would hurt.`
	return cmd
}

// tellTroubles says what nodes say is wrong with them, and what they do without; nothing when all is well.
func (l *local) tellTroubles(ctx context.Context, to io.Writer) error {
	var res struct{ Nodes []clusterapi.Node }
	if err := l.call(ctx, http.MethodGet, "/nodes", nil, &res); err != nil {
		return err
	}
	for _, n := range res.Nodes {
		if n.Why != "" {
			fmt.Fprintf(to, "%s is %s: %s\n", n.Name, n.Status, n.Why)
		}
		for _, lack := range n.Exposed {
			fmt.Fprintf(to, "%s: %s\n", n.Name, lack)
		}
	}
	return nil
}

func newConfirmDeadCommand() *cobra.Command {
	var yes bool
	cmd := localCommand("confirm-dead NODE", "Give your word that a node is off", cobra.ExactArgs(1), func(cmd *cobra.Command, l *local, args []string) error {
		if !yes {
			return fmt.Errorf("if %s still runs its guests, they will run twice and ruin their disks: cut its power, then say --yes", args[0])
		}
		if err := l.call(cmd.Context(), http.MethodPost, "/nodes/"+url.PathEscape(args[0])+"/confirm-dead", nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is taken for dead: what can be is started elsewhere now.\n", args[0])
		return nil
	})
	cmd.Long = `Gives your word that a node is off: its instances that ask for high availability are started elsewhere at once, instead of after the time of
a lease. Whatever of them is left on the node goes when it comes back.`
	cmd.Flags().BoolVar(&yes, "yes", false, "its power is cut, or it is gone")
	return cmd
}

// newWatchdogCommand is what a node starts for itself.
func newWatchdogCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "watchdog BOARD",
		Short:  "End this machine's guarded guests when its node cannot (started by the node itself)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			board, err := lease.OpenBoard(args[0])
			if err != nil {
				return err
			}
			// A signal to the daemon's group is not for it: it goes when there is nothing left to guard.
			return lease.Watch(cmd.Context(), board, "/proc", lease.BootTime, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
}
