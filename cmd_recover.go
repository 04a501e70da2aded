package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// errNotRecovered gives "node recover" without --yes its exit status.
var errNotRecovered = errors.New("nothing was done: say --yes when the nodes that are given up are off for good")

func newRecoverCommand() *cobra.Command {
	var yes bool
	cmd := localCommand("recover", "Make the cluster go on after its quorum is gone for good", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		method := http.MethodGet
		if yes {
			method = http.MethodPost
		}
		var plan clusterapi.RecoveryPlan
		if err := l.call(cmd.Context(), method, "/recovery", nil, &plan); err != nil {
			return err
		}
		if err := showPlan(cmd.OutOrStdout(), &plan); err != nil {
			return err
		}
		if !yes {
			return errNotRecovered
		}
		fmt.Fprintln(cmd.OutOrStdout(), "This node starts again as the only voter, and takes in the others that answer: `kilonova node list` shows it.")
		return nil
	})
	cmd.Long = `Makes the cluster go on when most of its voters are gone for good. Run it on a node that is left, while the nodes that are left run: it asks all of them
how much of the log they have, and refuses when another one has more, or when so many answer that they can agree by themselves.
Without --yes it says what it would do.

With --yes this node becomes the only voter, with every entry of its log, and takes the others that answer in again. Voters that do not answer are given
up: their IDs never come back, and "kilonova node remove" clears what they had. Their guarded instances are started elsewhere when their leases are
over. Instances on the nodes that are left are not touched.

Be sure that those voters are off. Where most of the voters live on, cut off, they are the cluster, and go on without this node.`
	cmd.Flags().BoolVar(&yes, "yes", false, "the voters that do not answer are off for good")
	return cmd
}

func showPlan(to io.Writer, p *clusterapi.RecoveryPlan) error {
	return table(to, "NODE\tADDRESS\tVOTER\tLOG\tWHAT BECOMES OF IT", func(w io.Writer) {
		fmt.Fprintf(w, "%s\t\t\t%d of term %d\tthe cluster goes on with its log\n", p.Node, p.Log.Last, p.Log.LastTerm)
		for _, o := range p.Others {
			voter, end, fate := "no", "silent", "comes back by itself when it can"
			if o.Voter {
				voter = "yes"
			}
			switch {
			case o.Answers:
				end, fate = fmt.Sprintf("%d of term %d", o.Log.Last, o.Log.LastTerm), "is taken in again"
			case o.Lost:
				fate = "is GIVEN UP for good"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Name, o.Address, voter, end, fate)
		}
	})
}
