package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// WaitEnabled waits until the cluster has all nodes and each of them takes guests.
func (c *Cloud) WaitEnabled(ctx context.Context) error {
	return c.await(ctx, "nodes to take guests", c.notEnabled)
}

// WaitVoters waits until so many nodes vote, or more.
func (c *Cloud) WaitVoters(ctx context.Context, want int) error {
	return c.await(ctx, fmt.Sprintf("%d voters", want), func(ctx context.Context) ([]string, error) {
		members, err := c.anyMembers(ctx)
		if err != nil {
			return nil, err
		}
		voters, others := 0, []string{}
		for _, m := range members {
			if m.Raft == "leader" || m.Raft == "voter" {
				voters++
			} else {
				others = append(others, m.Name+" is "+m.Raft)
			}
		}
		if voters >= want {
			return nil, nil
		}
		return append(others, fmt.Sprintf("%d voters", voters)), nil
	})
}

// await asks until nothing is missing.
func (c *Cloud) await(ctx context.Context, what string, ask func(context.Context) (missing []string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		missing, err := ask(ctx)
		if err == nil && len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %v", what, errors.Join(ctx.Err(), err), missing)
		case <-time.After(readyPoll):
		}
	}
}

// notEnabled says which nodes take no guests, and why.
func (c *Cloud) notEnabled(ctx context.Context) ([]string, error) {
	members, err := c.anyMembers(ctx)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, n := range c.Nodes {
		i := slices.IndexFunc(members, func(m Member) bool { return m.Name == n.Name() })
		switch {
		case i < 0:
			missing = append(missing, n.Name()+" is not a member")
		case members[i].State != "up" || members[i].Status != "enabled":
			missing = append(missing, strings.TrimSpace(fmt.Sprintf("%s is %s and %s %s", n.Name(), members[i].State, members[i].Status, members[i].Why)))
		}
	}
	return missing, nil
}
