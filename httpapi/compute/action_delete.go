package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

// deleteActions are about servers that were deleted softly, which stay for Config.DeferredDelete.
var deleteActions = map[string]serverAction{
	"forceDelete": {rule: "os-deferred-delete:force", who: member, do: forceDelete},
	"restore":     {rule: "os-deferred-delete:restore", who: member, do: restoreServer},
}

func forceDelete(c *call, _ *cluster.Instance, _ json.RawMessage) error {
	if err := c.destroy(0); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

func restoreServer(c *call, in *cluster.Instance, _ json.RawMessage) error {
	if err := c.allowedIn(in, "restore", []cluster.VMState{cluster.VMSoftDeleted}); err != nil {
		return err
	}
	return c.accept(&cluster.RestoreInstance{ID: in.ID, By: c.by()})
}
