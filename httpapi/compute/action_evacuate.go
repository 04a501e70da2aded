package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var evacuateActions = map[string]serverAction{
	"evacuate": {rule: "os-evacuate", who: admin, do: evacuateServer},
}

// The microversions that changed evacuate.
const (
	evacuateQuietly  version = 14 // onSharedStorage is gone, and no password is returned
	evacuateForce    version = 29
	evacuateUnforced version = 68
)

// canEvacuate are the states in which a server can be built anew elsewhere. Nova wants those that are paused or suspended reset
// to active first, which changes nothing: what was in memory went with the node.
var canEvacuate = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMError, cluster.VMPaused, cluster.VMSuspended}

// evacuateSchema is what evacuate takes at a microversion.
func evacuateSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{"host": schemaHost, "adminPass": schema.Text(0, 255)}
	if v < evacuateQuietly {
		known["onSharedStorage"] = schema.Boolean()
		return schema.Record(known, "onSharedStorage")
	}
	if v >= evacuateForce && v < evacuateUnforced {
		known["force"] = schema.Boolean()
	}
	return schema.Record(known)
}

// evacuateServer is an operator's word that the server's node is dead: the server is built anew elsewhere. While the node
// may live, which is as long as its service is up, that would be a second copy, so it is refused.
func evacuateServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	body, err := decodeAction[struct {
		Host   string   `json:"host"`
		Pass   *string  `json:"adminPass"`
		Shared flexBool `json:"onSharedStorage"`
		Force  flexBool `json:"force"`
	}]("evacuate", raw, evacuateSchema(c.v))
	switch {
	case err != nil:
		return err
	case bool(body.Force) && body.Host == "":
		return bad("Can't force to a non-provided destination")
	case bool(body.Shared) && body.Pass != nil:
		return bad("admin password can't be changed on existing disk")
	}
	if body.Host != "" {
		to, ok := c.view.NodeNamed(body.Host)
		switch {
		case !ok:
			return notFound("Compute host %s not found.", body.Host)
		case to.ID == in.Node && c.first():
			return bad("The target host can't be the same one.")
		}
	}
	if err := c.inState(in, "evacuate", canEvacuate); err != nil { // whatever its node was doing, and a lock does not matter
		return err
	}
	if from, ok := c.view.Node(in.Node); ok && c.first() { // the first one made in.Node another
		switch up, err := c.answers(from); {
		case err != nil:
			return err
		case up:
			return bad("Compute service of %s is still in use.", from.Name)
		}
	}
	pass := chosenOr(body.Pass)
	if _, err := c.change(&cluster.BeginMove{ID: in.ID, By: c.by(), Operation: newOperation(), What: cluster.OpEvacuate, Host: body.Host,
		Forced: bool(body.Force), AdminPass: pass}); err != nil {
		return err
	}
	if c.v >= evacuateQuietly {
		return c.done(http.StatusOK)
	}
	return c.sendPassword(pass)
}

// chosenOr is the password that the client chose, or a new one.
func chosenOr(chosen *string) string {
	if chosen != nil {
		return *chosen
	}
	return randomText(passwordLength, passwordChars)
}

func (c *call) sendPassword(pass string) error {
	var j writer
	j.open('{').field("adminPass", pass).close('}')
	return c.send(http.StatusOK, &j)
}
