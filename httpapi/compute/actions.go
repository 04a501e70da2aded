package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// serverAction is something that POST /servers/{id}/action can do.
type serverAction struct {
	rule         string
	who          level
	since, until version
	body         *schema.Schema // what its value may be; nil: anything, as for the many that Nova sends null
	do           func(*call, *cluster.Instance, json.RawMessage) error
}

// serverActions is the table of actions. Those that change the power are in action_power.go, and so on; those that
// Kilonova does not have, in action_refused.go.
var serverActions = func() map[string]serverAction {
	all := map[string]serverAction{}
	for _, some := range []map[string]serverAction{powerActions, suspendActions, lockActions, resizeActions, liveActions,
		evacuateActions, rebuildActions, rescueActions, imageActions, shelveActions, deleteActions, adminActions, addressActions,
		consoleActions, passwordActions, crashActions, refusedActions} {
		for name, a := range some {
			all[name] = a
		}
	}
	return all
}()

func noAction(name string) error { return bad("There is no such action: %s", name) }

// action reads the body of an action: an object with one member, which names it.
func (c *call) action() (name string, value json.RawMessage, err error) {
	if c.r.ContentLength == 0 {
		return "", nil, bad("Malformed request body")
	}
	body, err := rest.Decode[json.RawMessage](c.r)
	if err != nil {
		return "", nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || len(members) == 0 {
		return "", nil, bad("Malformed request body")
	}
	if len(members) > 1 {
		return "", nil, bad("Malformed request body: it names %d actions", len(members))
	}
	for name, value = range members {
		break
	}
	return name, value, nil
}

func (c *call) actOnServer() error {
	name, value, err := c.action()
	if err != nil {
		return err
	}
	a, ok := serverActions[name]
	switch {
	case !ok:
		return noAction(name)
	case !c.served(a.since, a.until):
		return errNoResource
	}
	in, err := c.server()
	if err != nil {
		if name == "forceDelete" && c.unlessRepeated(err) == nil {
			return c.done(http.StatusAccepted)
		}
		return err
	}
	if err := c.allow(a.rule, a.who); err != nil {
		return err
	}
	if a.body != nil {
		if err := checkAction(name, value, a.body); err != nil {
			return err
		}
	}
	return a.do(c, in, value)
}

// decodeAction reads the value of an action that must be as the schema says.
func decodeAction[T any](name string, raw json.RawMessage, s *schema.Schema) (T, error) {
	var v T
	if err := checkAction(name, raw, s); err != nil {
		return v, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, bad("Malformed request body")
	}
	return v, nil
}

// checkAction refuses the value of an action that is not as the schema says, in the words of Nova's validator.
func checkAction(name string, raw json.RawMessage, s *schema.Schema) error {
	tree, err := schema.Parse(raw)
	if err != nil {
		return bad("Malformed request body")
	}
	if wrong := schema.Wrap(name, s).Check(&schema.Object{Names: []string{name}, Values: map[string]any{name: tree}}); wrong != nil {
		return bad("%s", wrong.Body())
	}
	return nil
}
