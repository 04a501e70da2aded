package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/instanceactions"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/spf13/cobra"
)

// serverAction does something to a server.
type serverAction = func(ctx context.Context, s *gophercloud.ServiceClient, id string) error

// newServerActionCommands makes the commands that need to be told nothing but which servers. Those whose status is empty end
// in more than one.
func newServerActionCommands(f *cloudFlags) []*cobra.Command {
	var all []*cobra.Command
	for _, a := range []struct {
		verb, short, becomes string
		act                  serverAction
	}{
		{"pause", "Stop servers, their memory stays in the node's", "PAUSED", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.Pause(ctx, s, id).ExtractErr()
		}},
		{"unpause", "Let paused servers go on", "ACTIVE", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.Unpause(ctx, s, id).ExtractErr()
		}},
		{"suspend", "Save servers' memory to disk, and stop them", "SUSPENDED", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.Suspend(ctx, s, id).ExtractErr()
		}},
		{"resume", "Let suspended servers go on", "ACTIVE", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.Resume(ctx, s, id).ExtractErr()
		}},
		{"shelve", "Put servers away in images, off their nodes", "SHELVED_OFFLOADED", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.Shelve(ctx, s, id).ExtractErr()
		}},
		{"unrescue", "Boot rescued servers from their own disks again", "ACTIVE", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.Unrescue(ctx, s, id).ExtractErr()
		}},
		{"confirm", "Keep resized or migrated servers as they are now", "", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.ConfirmResize(ctx, s, id).ExtractErr()
		}},
		{"revert", "Take resized or migrated servers back", "", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			return servers.RevertResize(ctx, s, id).ExtractErr()
		}},
	} {
		all = append(all, newServerPowerCommand(f, a.verb, a.short, a.becomes, a.act))
	}
	return append(all, newLockCommand(f, "lock", "Let nobody but administrators change servers", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
		return servers.Lock(ctx, s, id).ExtractErr()
	}), newLockCommand(f, "unlock", "Let servers be changed again", func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
		return servers.Unlock(ctx, s, id).ExtractErr()
	}))
}

func newLockCommand(f *cloudFlags, verb, short string, act serverAction) *cobra.Command {
	return f.command(verb+" SERVER...", short, cobra.MinimumNArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		return c.each(cmd.Context(), args, func(ctx context.Context, arg string) error {
			s, found, err := c.serverNamed(ctx, arg)
			if err != nil {
				return err
			}
			return doing(verb+" server "+arg, act(ctx, s, found.ID))
		})
	})
}

// serverNamed finds a server, and the service that has it.
func (c *cloud) serverNamed(ctx context.Context, arg string) (*gophercloud.ServiceClient, servers.Server, error) {
	found, err := c.findServer(ctx, arg)
	if err != nil {
		return nil, found, err
	}
	s, err := c.compute()
	return s, found, err
}

// serverActionOn does something to one server, and waits until it is done when w says so.
func (c *cloud) serverActionOn(ctx context.Context, arg, what, becomes string, w waitFlags, act serverAction) error {
	s, found, err := c.serverNamed(ctx, arg)
	if err != nil {
		return err
	}
	if err := doing(what+" server "+arg, act(ctx, s, found.ID)); err != nil || !w.wait {
		return err
	}
	return c.finish(ctx, s, found, becomes, w.limit)
}

// finish waits as settle does, and tells what went wrong even when the server is as it was before.
func (c *cloud) finish(ctx context.Context, s *gophercloud.ServiceClient, server servers.Server, becomes string, limit time.Duration) error {
	if _, err := c.settle(ctx, s, server, becomes, limit); err != nil {
		return err
	}
	return c.failure(ctx, s, server)
}

// failure tells how the last thing that was done to a server failed; nil: it did not.
func (c *cloud) failure(ctx context.Context, s *gophercloud.ServiceClient, server servers.Server) error {
	pages, err := instanceactions.List(s, server.ID, nil).AllPages(ctx)
	if err != nil {
		return doing("list what was done to server "+server.Name, err)
	}
	all, err := instanceactions.ExtractInstanceActions(pages)
	if err != nil || len(all) == 0 {
		return err
	}
	last := slices.MaxFunc(all, func(a, b instanceactions.InstanceAction) int { return a.StartTime.Compare(b.StartTime) })
	if last.Message == "" {
		return nil
	}
	return fmt.Errorf("the %s of server %s failed: %s", last.Action, server.Name, why(ctx, s, server.ID, last))
}

// why is what the last step of a failed action said.
func why(ctx context.Context, s *gophercloud.ServiceClient, server string, a instanceactions.InstanceAction) string {
	var body struct {
		Action struct {
			Events []struct {
				Details string `json:"details"`
			} `json:"events"`
		} `json:"instanceAction"`
	}
	with := *s
	with.Microversion = detailsVersion
	_, err := with.Get(ctx, with.ServiceURL("servers", server, "os-instance-actions", a.RequestID), &body, nil)
	for _, e := range slices.Backward(body.Action.Events) {
		if err == nil && e.Details != "" {
			return oneLine(e.Details)
		}
	}
	return oneLine(a.Message)
}

// detailsVersion is the microversion in which events say more than that they failed.
const detailsVersion = "2.84"

// actOn asks for an action that the library has no options for.
func actOn(ctx context.Context, s *gophercloud.ServiceClient, id string, body map[string]any) error {
	_, err := s.Post(ctx, s.ServiceURL("servers", id, "action"), body, nil, &gophercloud.RequestOpts{OkCodes: []int{202}})
	return err
}
