package compute

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

var crashActions = map[string]serverAction{
	"trigger_crash_dump": {rule: "servers:trigger_crash_dump", who: member, since: 17, do: triggerCrashDump},
}

// triggerCrashDump sends the guest a non-maskable interrupt.
func triggerCrashDump(c *call, in *cluster.Instance, raw json.RawMessage) error {
	if string(raw) != "null" {
		return bad("Invalid input for field/attribute trigger_crash_dump. %.64s is not of type 'null'", raw)
	}
	states := []cluster.VMState{cluster.VMActive, cluster.VMPaused, cluster.VMRescued, cluster.VMResized, cluster.VMError}
	if err := c.allowedIn(in, "trigger_crash_dump", states); err != nil {
		return err
	}
	if c.Inside == nil {
		return unsupported("trigger_crash_dump")
	}
	err := c.recorded(in, did{"trigger_crash_dump", "compute_trigger_crash_dump"}, func(ctx context.Context) error {
		err := c.Inside.Crash(ctx, in)
		if cluster.CodeOf(err) == cluster.Unsupported {
			return bad("Triggering crash dump is not supported")
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
