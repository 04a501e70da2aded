package compute

import (
	"context"

	"github.com/kilonova/kilonova/cluster"
)

// Inside reaches into running instances, on whichever node they are. Codes: Conflict when the instance does not run, Unsupported when
// its guest or hypervisor cannot do it, Unavailable when its node does not answer.
type Inside interface {
	// Diagnostics tells what the instance uses.
	Diagnostics(ctx context.Context, in *cluster.Instance) (cluster.Diagnostics, error)

	// SetPassword sets a user's password through the guest's agent.
	SetPassword(ctx context.Context, in *cluster.Instance, user, password string) error

	// Crash sends the guest a non-maskable interrupt, on which it dumps its memory if it is set up to.
	Crash(ctx context.Context, in *cluster.Instance) error
}

// did is something that was done inside an instance, in Nova's words.
type did struct{ action, event string }

// recorded does something inside an instance and records it among its actions, whether it went well or not. What could not be
// tried, since the instance's node does not answer, is not recorded.
func (c *call) recorded(in *cluster.Instance, what did, do func(context.Context) error) error {
	failed := do(c.r.Context())
	if code := cluster.CodeOf(failed); failed != nil && (code == cluster.Unavailable || code == cluster.Internal) {
		return failed
	}
	o := &cluster.RecordAction{
		Instance: in.ID, Request: c.caller.RequestID, Project: c.caller.ProjectID(), User: c.caller.User.ID, Action: what.action, Event: what.event,
	}
	if failed != nil {
		o.Failure = failed.Error()
	}
	if _, err := c.change(o); err != nil && failed == nil {
		return err
	}
	return failed
}
