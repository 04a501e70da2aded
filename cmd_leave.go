package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// leaveWithin is how long a node may take to be empty before it leaves, unless its operator says otherwise.
const leaveWithin = 30 * time.Minute

func newRemoveCommand() *cobra.Command {
	var force bool
	cmd := localCommand("remove NODE", "Take a node that is gone out of the cluster for good", cobra.ExactArgs(1), func(cmd *cobra.Command, l *local, args []string) error {
		if err := l.remove(cmd.Context(), cmd.OutOrStdout(), args[0], force); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is no longer part of the cluster, and its data directory can never come back. A wiped machine can join as a new node.\n", args[0])
		return nil
	})
	cmd.Long = `Takes a node out of the cluster for good. Its ID never votes again. A node that is up is asked to leave by itself
("kilonova node leave" there); so is one that keeps current copies of disks, or has instances. --force removes it all the same, and says first what is lost
with it: an instance all of which is elsewhere, too (a current copy of its disk, or shared volumes), is started there after the time of a lease, and any
other ends in error. One that has a copy and may still run there keeps the node from being removed until "kilonova node confirm-dead".`
	cmd.Flags().BoolVar(&force, "force", false, "also when it is up, has instances, or keeps copies of disks")
	return cmd
}

// remove takes a node out of the cluster. By force, it says before what is lost.
func (l *local) remove(ctx context.Context, to io.Writer, node string, force bool) error {
	path := "/nodes/" + url.PathEscape(node)
	if force {
		var res struct{ Removal clusterapi.Removal }
		if err := l.call(ctx, http.MethodGet, path+"/removal", nil, &res); err != nil {
			return err
		}
		fmt.Fprint(to, removalText(node, &res.Removal))
		path += "?force=true"
	}
	return l.call(ctx, http.MethodDelete, path, nil, nil)
}

// removalText says what becomes of what a node has when it is removed by force; "" when it has nothing.
func removalText(node string, r *clusterapi.Removal) string {
	var b strings.Builder
	list := func(title string, all []clusterapi.Parted) {
		if len(all) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s\n", title)
		for _, p := range all {
			fmt.Fprintf(&b, "  %s (%s)", p.Name, p.ID)
			if p.Why != "" {
				fmt.Fprintf(&b, ": %s", p.Why)
			}
			fmt.Fprintln(&b)
		}
	}
	list("Servers that go on elsewhere without "+node+":", r.GoOn)
	list("Servers that are lost with "+node+", and end in error:", r.Lost)
	list("Servers on other nodes that lose the current copy of their disk:", r.Copies)
	if len(r.Volumes) > 0 {
		fmt.Fprintf(&b, "Volumes that are lost with %s, and their snapshots:\n  %s\n", node, strings.Join(r.Volumes, "\n  "))
	}
	return b.String()
}

func newLeaveCommand() *cobra.Command {
	var force bool
	within := leaveWithin
	cmd := localCommand("leave", "Take this machine out of the cluster for good, and stop its node", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		var o clusterapi.Overview
		if err := l.call(cmd.Context(), http.MethodGet, "", nil, &o); err != nil {
			return err
		}
		if o.Nodes == 1 {
			return fmt.Errorf("this is the only node of the cluster: stop it and remove its data directory instead")
		}
		node := string(o.Node)
		if !force {
			if err := l.empty(cmd.Context(), cmd.OutOrStdout(), node, within); err != nil {
				return err
			}
		}
		if err := l.remove(cmd.Context(), cmd.OutOrStdout(), node, force); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), "This machine has left the cluster, and its node stops. To join again, wipe the data directory.")
		return nil
	})
	cmd.Long = `Takes this machine out of the cluster for good. Its node is drained first: its instances go to other nodes, and the copies of disks that it keeps are
made anew there; it leaves when the last of them is current. If that takes longer than --timeout, or something cannot leave, nothing is removed, and the node stays drained. --force
leaves at once, and says before what is lost with the node.`
	cmd.Flags().BoolVar(&force, "force", false, "leave at once, with whatever is lost")
	cmd.Flags().DurationVar(&within, "timeout", leaveWithin, "how long to wait until the node is empty")
	return cmd
}

// empty drains a node that is about to leave, and waits until all that it had is elsewhere.
func (l *local) empty(ctx context.Context, to io.Writer, node string, within time.Duration) error {
	var res struct{ Node clusterapi.Node }
	path := "/nodes/" + url.PathEscape(node)
	if err := l.call(ctx, http.MethodPost, path+"/drain", nil, nil); err != nil {
		return err
	}
	if err := l.call(ctx, http.MethodGet, path, nil, &res); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := watchDrain(bounded, l, res.Node.Name, to)
	if d := res.Node.Drain; err == nil && d != nil {
		err = l.copiedElsewhere(bounded, to, d.Copied)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%s is not empty after %v", res.Node.Name, within)
	}
	if err != nil {
		return fmt.Errorf("%w\nIt stays in the cluster, drained: `kilonova node undrain %s` undoes that, --force leaves all the same", err, res.Node.Name)
	}
	return nil
}

// copiedElsewhere waits until the instances have current copies again, those that still ask for one and run.
func (l *local) copiedElsewhere(ctx context.Context, to io.Writer, ids []cluster.InstanceID) error {
	said := -1
	for {
		var left []cluster.InstanceID
		for _, id := range ids {
			var c clusterapi.Copies
			err := l.call(ctx, http.MethodGet, "/instances/"+string(id)+"/replica", nil, &c)
			var no *refused
			switch {
			case errors.As(err, &no) && no.status == http.StatusNotFound: // it was deleted
			case err != nil:
				return err
			case c.Asked && c.Copyable && (c.Replica == nil || c.Replica.State != cluster.ReplicaCurrent):
				left = append(left, id)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if ids = left; len(left) != said {
			said = len(left)
			fmt.Fprintf(to, "%d copies of disks are being filled elsewhere\n", said)
		}
		select {
		case <-time.After(drainPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
