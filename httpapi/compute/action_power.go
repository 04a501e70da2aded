package compute

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var powerActions = map[string]serverAction{
	"os-start": {rule: "servers:start", who: member, do: startServer},
	"os-stop":  {rule: "servers:stop", who: member, do: stopServer},
	"reboot":   {rule: "servers:reboot", who: member, body: rebootSchema, do: rebootServer},
}

var rebootSchema = schema.Record(map[string]*schema.Schema{
	"type": {Enum: []any{"HARD", "Hard", "hard", "SOFT", "Soft", "soft"}}}, "type")

// allowedIn refuses an action in a state that Nova does not allow it in. Apply checks the same again; these are the words
// that clients know. A repetition is left to Apply, which remembers.
func (c *call) allowedIn(in *cluster.Instance, action string, states []cluster.VMState, tasks ...cluster.TaskState) error {
	if err := c.unlocked(in); err != nil {
		return err
	}
	return c.fitFor(in, action, states, tasks...)
}

// fitFor is allowedIn for what may be done to a locked server, too: what neither changes nor removes it.
func (c *call) fitFor(in *cluster.Instance, action string, states []cluster.VMState, tasks ...cluster.TaskState) error {
	if err := c.inState(in, action, states); err != nil || !c.first() {
		return err
	}
	if in.Status.Task != cluster.TaskNone && !slices.Contains(tasks, in.Status.Task) {
		return conflict("Cannot '%s' instance %s while it is in task_state %s", action, in.ID, in.Status.Task)
	}
	return nil
}

// inState is fitFor whatever else is being done to the server.
func (c *call) inState(in *cluster.Instance, action string, states []cluster.VMState) error {
	if c.first() && !slices.Contains(states, in.Status.VM) {
		return conflict("Cannot '%s' instance %s while it is in vm_state %s", action, in.ID, in.Status.VM)
	}
	return nil
}

func startServer(c *call, in *cluster.Instance, _ json.RawMessage) error {
	if err := c.allowedIn(in, "start", []cluster.VMState{cluster.VMStopped}); err != nil {
		return err
	}
	return c.power(in, cluster.WantOn, "")
}

func stopServer(c *call, in *cluster.Instance, _ json.RawMessage) error {
	if err := c.allowedIn(in, "stop", []cluster.VMState{cluster.VMActive, cluster.VMError}); err != nil {
		return err
	}
	return c.power(in, cluster.WantOff, "")
}

func rebootServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	states, tasks := []cluster.VMState{cluster.VMActive}, []cluster.TaskState(nil)
	kind := strings.ToUpper(body.Type)
	if kind == "HARD" {
		states = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMPaused, cluster.VMSuspended, cluster.VMError}
		tasks = []cluster.TaskState{cluster.TaskRebooting, cluster.TaskRebootHard, cluster.TaskSuspending, cluster.TaskResuming,
			cluster.TaskPausing, cluster.TaskUnpausing}
	}
	if err := c.allowedIn(in, "reboot", states, tasks...); err != nil {
		return err
	}
	return c.power(in, cluster.WantOn, kind)
}

// power proposes a change of power.
func (c *call) power(in *cluster.Instance, want cluster.Power, reboot string) error {
	_, err := c.change(&cluster.SetPower{ID: in.ID, Request: c.caller.RequestID, User: c.caller.User.ID, Project: c.caller.ProjectID(),
		Wanted: want, Reboot: reboot})
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
