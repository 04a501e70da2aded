package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

const (
	// defaultKeep gives whoever copied the authority's certificate a day to copy it again.
	defaultKeep = 24 * time.Hour

	// keysPoll is how often a rotation is looked at.
	keysPoll = 500 * time.Millisecond

	// downPolls is how often in a row only silent nodes must be missing until a command stops watching.
	downPolls = 10
)

func newRotateGossipCommand() *cobra.Command {
	var force bool
	cmd := localCommand("rotate-gossip-key", "Replace the key that gossip is encrypted with", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		return l.rotate(cmd, cluster.KeysGossip, map[string]any{"force": force})
	})
	cmd.Long = `Replaces the key that gossip is encrypted with, in two steps that every node takes together: the new key is added, then it is used; then the old
one goes. Nodes that are off are waited for, and the rotation goes on by itself when they are back or were removed. With --force it goes on
without them now: when they are back they get the new key over the peer port.
It is safe to interrupt this command, and to repeat it: it watches the rotation that is under way.`
	cmd.Flags().BoolVar(&force, "force", false, "do not wait for the nodes that have not confirmed the present step")
	return cmd
}

func newRotateAuthorityCommand() *cobra.Command {
	var keep time.Duration
	cmd := localCommand("rotate-ca", "Replace the authority that signs the nodes' certificates", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		return l.rotate(cmd, cluster.KeysAuthority, map[string]any{"keep": keep.String()})
	})
	cmd.Long = `Replaces the authority that signs the nodes' certificates. First every node trusts the new one beside the old one; then each gets a certificate
of the new one; when all have, and the time of --keep is over, the old one goes. Nodes that are off are waited for: they could not be let in
any more. Remove those that will not come back.
While there are two, ca.pem in every node's data directory holds both, and the API's certificate is the old one's: copy ca.pem again to wherever
clients have it before the time is over. Join tokens that were made before stay good until the old authority goes.
It is safe to interrupt this command, and to repeat it: it watches the rotation that is under way.`
	cmd.Flags().DurationVar(&keep, "keep", defaultKeep, "how long the old authority is trusted at least; 0s when its key was stolen")
	return cmd
}

// rotate begins a rotation, or watches the one that is under way, until it is done or only time or silent nodes are missing.
func (l *local) rotate(cmd *cobra.Command, which cluster.Keyset, request map[string]any) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	before, err := l.keys(ctx, which)
	if err != nil {
		return err
	}
	if force, _ := request["force"].(bool); force || before.Step == "" || before.Step == cluster.KeysDone {
		if err := l.call(ctx, http.MethodPost, "/keys/"+string(which)+"/rotate", request, nil); err != nil {
			return err
		}
	}
	last := ""
	for down := 0; ; {
		r, err := l.keys(ctx, which)
		if err != nil {
			return err
		}
		if line := rotationLine(r); line != last {
			fmt.Fprintln(out, line)
			last = line
		}
		silent := !slices.ContainsFunc(r.Waiting, func(w clusterapi.Awaited) bool { return w.State == "up" })
		switch {
		case r.Step == cluster.KeysDone:
			return nil
		case r.Step == cluster.KeysUsed && len(r.Waiting) == 0 && r.KeepUntil != nil && time.Until(*r.KeepUntil) > 0:
			fmt.Fprintln(out, "It ends by itself; `kilonova cluster show` tells how far it is.")
			return nil
		case len(r.Waiting) > 0 && silent:
			if down++; down == downPolls {
				fmt.Fprintln(out, advice(which))
				return nil
			}
		default:
			down = 0
		}
		if err := sleep(ctx, keysPoll); err != nil {
			return fmt.Errorf("interrupted; the rotation goes on: %w", err)
		}
	}
}

// advice is what to do about nodes that do not answer.
func advice(which cluster.Keyset) string {
	const goesOn = "It goes on by itself when they are back. Remove those that will not be (kilonova node remove)"
	if which == cluster.KeysGossip {
		return goesOn + ", or go on without them now with --force."
	}
	return goesOn + "."
}

func (l *local) keys(ctx context.Context, which cluster.Keyset) (clusterapi.Rotation, error) {
	var res struct{ Keys []clusterapi.Rotation }
	if err := l.call(ctx, http.MethodGet, "/keys", nil, &res); err != nil {
		return clusterapi.Rotation{}, err
	}
	for _, r := range res.Keys {
		if r.Keys == which {
			return r, nil
		}
	}
	return clusterapi.Rotation{}, fmt.Errorf("this node knows no %s key", which)
}

// tellRotations says which keys are being replaced, and for whom that waits; nothing when none are.
func (l *local) tellRotations(ctx context.Context, to io.Writer) error {
	var res struct{ Keys []clusterapi.Rotation }
	if err := l.look(ctx, io.Discard, "/keys", &res); err != nil {
		return err
	}
	for _, r := range res.Keys {
		if r.Step != "" && r.Step != cluster.KeysDone {
			fmt.Fprintf(to, "The %s key is being replaced: %s.\n", r.Keys, rotationLine(r))
		}
	}
	return nil
}

// rotationLine tells in a line how far a rotation is.
func rotationLine(r clusterapi.Rotation) string {
	switch r.Step {
	case "":
		return "as it was made with the cluster"
	case cluster.KeysDone:
		return "replaced " + stamp(r.Ended)
	}
	line := "1/2 every node takes the new one, too"
	if r.Step == cluster.KeysUsed {
		line = "2/2 every node uses the new one"
	}
	line += fmt.Sprintf(": %d of %d", r.Confirmed, r.Nodes-r.Without)
	var names []string
	for _, w := range r.Waiting {
		names = append(names, w.Node+" ("+w.State+")")
	}
	if len(names) > 0 {
		line += "; waits for " + strings.Join(names, ", ")
	} else if r.KeepUntil != nil {
		line += "; the old one is kept until " + stamp(r.KeepUntil)
	}
	return line
}

func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func newShowCommand() *cobra.Command {
	return localCommand("show", "Show the cluster as a whole, and how far its keys are", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		var o clusterapi.Overview
		if err := l.look(cmd.Context(), cmd.ErrOrStderr(), "", &o); err != nil {
			return err
		}
		var res struct{ Keys []clusterapi.Rotation }
		if err := l.look(cmd.Context(), io.Discard, "/keys", &res); err != nil {
			return err
		}
		return table(cmd.OutOrStdout(), "PROPERTY\tVALUE", func(w io.Writer) {
			fmt.Fprintf(w, "cluster\t%s\nnodes\t%d\ninstances\t%d\nleader\t%s\nindex\t%d\nversion\t%s\n",
				o.ClusterID, o.Nodes, o.Instances, orNone(string(o.Leader)), o.Index, o.Version)
			for _, r := range res.Keys {
				fmt.Fprintf(w, "%s key\t%s\n", r.Keys, rotationLine(r))
			}
		})
	})
}

func orNone(s string) string {
	if s == "" {
		return "none is known"
	}
	return s
}
