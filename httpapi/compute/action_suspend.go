package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

// suspendActions keep a guest's memory while it does not run: pause in the host's memory, suspend on its disk.
var suspendActions = map[string]serverAction{
	"pause":   {rule: "os-pause-server:pause", who: member, do: changePower("pause", cluster.VMActive)},
	"unpause": {rule: "os-pause-server:unpause", who: member, do: changePower("unpause", cluster.VMPaused)},
	"suspend": {rule: "os-suspend-server:suspend", who: member, do: changePower("suspend", cluster.VMActive)},
	"resume":  {rule: "os-suspend-server:resume", who: member, do: changePower("resume", cluster.VMSuspended)},
}

// changePower makes the handler of a change of power that has a name, and one state to begin in.
func changePower(name string, from cluster.VMState) func(*call, *cluster.Instance, json.RawMessage) error {
	return func(c *call, in *cluster.Instance, _ json.RawMessage) error {
		if err := c.allowedIn(in, name, []cluster.VMState{from}); err != nil {
			return err
		}
		return c.accept(&cluster.SetPower{ID: in.ID, Request: c.caller.RequestID, User: c.caller.User.ID, Project: c.caller.ProjectID(),
			Action: name})
	}
}

// accept proposes an op and replies that what it asks for will be done.
func (c *call) accept(op cluster.Op) error {
	if _, err := c.change(op); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

// by says who asks, for the server's actions.
func (c *call) by() cluster.By {
	return cluster.By{Request: c.caller.RequestID, User: c.caller.User.ID, Project: c.caller.ProjectID()}
}
