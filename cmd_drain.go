package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// drainPoll is how often it is asked how far a drain is.
const drainPoll = time.Second

func newDrainCommand(on bool) *cobra.Command {
	if !on {
		return localCommand("undrain NODE", "Let a node take new instances again", cobra.ExactArgs(1), func(cmd *cobra.Command, l *local, args []string) error {
			if err := l.call(cmd.Context(), http.MethodPost, "/nodes/"+url.PathEscape(args[0])+"/undrain", nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s takes new instances again. Those that are on their way go on.\n", args[0])
			return nil
		})
	}
	var noWait bool
	cmd := localCommand("drain NODE", "Take all instances off a node, and give it no new ones", cobra.ExactArgs(1), func(cmd *cobra.Command, l *local, args []string) error {
		if err := l.call(cmd.Context(), http.MethodPost, "/nodes/"+url.PathEscape(args[0])+"/drain", nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s takes no new instances. Those that it has go to other nodes, and the copies of disks that it keeps, too.\n", args[0])
		if noWait {
			return nil
		}
		return watchDrain(cmd.Context(), l, args[0], cmd.OutOrStdout())
	})
	cmd.Long = `Gives a node no new instances, and takes those that it has to other nodes: those that run while they run, those that
are off with their disks. Copies of other nodes' disks that it keeps are made anew elsewhere, two at a time. What cannot be moved, because it is suspended or no other node has room for it, say, is named with the
reason, and everything goes on until "kilonova node undrain". The command waits until nothing can be moved any more; ending it does not end the draining.`
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until the instances have left")
	return cmd
}

// watchDrain tells how a drain goes on, until the node is empty or nothing moves any more.
func watchDrain(ctx context.Context, l *local, node string, to io.Writer) error {
	said, quiet := "", 0
	for {
		var res struct{ Node clusterapi.Node }
		if err := l.call(ctx, http.MethodGet, "/nodes/"+url.PathEscape(node), nil, &res); err != nil {
			return err
		}
		d := res.Node.Drain
		switch {
		case d == nil:
			return fmt.Errorf("%s is not drained any more", node)
		case d.Left == 0 && d.Copies == 0:
			fmt.Fprintf(to, "%s is empty.\n", node)
			return nil
		}
		if line := drainLine(d); line != said {
			said = line
			fmt.Fprintln(to, line)
		}
		if quiet++; d.Moving > 0 || d.Left > d.Stuck || d.Copies > d.CopiesStuck {
			quiet = 0
		}
		if quiet > 2 {
			return fmt.Errorf("%d of the instances and %d of the copies of disks on %s cannot leave it:\n  %s", d.Stuck, d.CopiesStuck, node, strings.Join(d.Held, "\n  "))
		}
		select {
		case <-time.After(drainPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func drainLine(d *clusterapi.Drain) string {
	line := fmt.Sprintf("%d left, %d on their way", d.Left, d.Moving)
	if d.Stuck > 0 {
		line += fmt.Sprintf(", %d cannot leave", d.Stuck)
	}
	if d.Copies > 0 {
		line += fmt.Sprintf("; %d copies of disks are to leave", d.Copies)
	}
	if d.CopiesStuck > 0 {
		line += fmt.Sprintf(", %d cannot", d.CopiesStuck)
	}
	return line
}
