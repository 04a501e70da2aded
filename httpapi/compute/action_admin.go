package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// adminActions are those by which an operator mends what the cluster thinks of a server.
var adminActions = map[string]serverAction{
	"os-resetState":     {rule: "os-admin-actions:reset_state", who: admin, body: resetSchema, do: resetState},
	"resetNetwork":      {rule: "os-admin-actions:reset_network", who: admin, until: 92, do: toldAnyway},
	"injectNetworkInfo": {rule: "os-admin-actions:inject_network_info", who: admin, until: 92, do: toldAnyway},
}

var resetSchema = schema.Record(map[string]*schema.Schema{
	"state": {Types: []string{"string"}, Enum: []any{"active", "error"}}}, "state")

// resetState is allowed on a locked server, as in Nova.
func resetState(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		State cluster.VMState `json:"state"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	return c.accept(&cluster.ResetInstance{ID: in.ID, By: c.by(), State: body.State})
}

// toldAnyway answers the actions by which XenAPI's agent was told its network again. Guests here read it from their config
// drive, which is always as the state says, so what is asked for is done already.
func toldAnyway(c *call, in *cluster.Instance, _ json.RawMessage) error {
	if err := c.unlocked(in); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
