package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// resizeActions move a server that is off meanwhile, and settle what became of it.
var resizeActions = map[string]serverAction{
	"resize":        {rule: "servers:resize", who: member, body: resizeSchema, do: resizeServer},
	"confirmResize": {rule: "servers:confirm_resize", who: member, do: endResize("confirmResize", false, http.StatusNoContent)},
	"revertResize":  {rule: "servers:revert_resize", who: member, do: endResize("revertResize", true, http.StatusAccepted)},
	"migrate":       {rule: "os-migrate-server:migrate", who: admin, do: migrateServer},
}

var (
	resizeSchema = schema.Record(map[string]*schema.Schema{
		"flavorRef": schemaFlavorRef, "OS-DCF:diskConfig": schemaDiskConfig}, "flavorRef")
	migrateSchema = schema.Record(map[string]*schema.Schema{"host": schemaHost.OrNull()}).OrNull()

	schemaFlavorRef = &schema.Schema{Types: []string{"string", "integer"}, MinLength: 1, MaxLength: 255}
	schemaHost      = schema.Text(1, 255)

	// canMove are the states in which a server can be resized or moved while it is off.
	canMove = []cluster.VMState{cluster.VMActive, cluster.VMStopped}
)

func resizeServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Flavor     flexText `json:"flavorRef"`
		DiskConfig *string  `json:"OS-DCF:diskConfig"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	if err := c.allowedIn(in, "resize", canMove); err != nil {
		return err
	}
	if err := c.nodeAnswers(in); err != nil {
		return err
	}
	f, err := c.usableFlavor(string(body.Flavor))
	if err != nil {
		return err
	}
	now := in.Spec.Flavor
	switch {
	case !c.first(): // the first one made it what it is now
	case f.ID == now.ID:
		return bad("When resizing, instances must change flavor!")
	case f.DiskGiB == 0 && now.DiskGiB != 0:
		return bad("Server disk was unable to be resized because: Resize to zero disk flavor is not allowed.")
	case f.DiskGiB < now.DiskGiB || f.Ephemeral < now.Ephemeral:
		return bad("Server disk was unable to be resized because: Resize down is not possible: the disks of flavor %s are smaller.", f.Name)
	}
	next := in.Spec
	if next.Flavor = *f; f.Ephemeral > 0 || f.ExtraSpecs[cluster.KeyReplicas] != now.ExtraSpecs[cluster.KeyReplicas] {
		if err := replicable(&next); err != nil {
			return err
		}
	}
	if _, err := c.change(&cluster.BeginMove{ID: in.ID, By: c.by(), Operation: newOperation(), What: cluster.OpResize,
		Flavor: f.Clone()}); err != nil {
		return err
	}
	if body.DiskConfig != nil { // as a change of its own: it stays, whether the resize is confirmed or not
		return c.accept(&cluster.UpdateInstance{ID: in.ID, DiskConfig: body.DiskConfig})
	}
	return c.done(http.StatusAccepted)
}

// usableFlavor finds a flavor that the caller may use for a server.
func (c *call) usableFlavor(ref string) (*cluster.Flavor, error) {
	id := lastPart(ref)
	f, ok := c.view.Flavor(cluster.FlavorID(id))
	if !ok || !c.seesFlavor(f) || f.Disabled {
		return nil, bad("Flavor %s could not be found.", id)
	}
	return f, nil
}

// nodeAnswers refuses what a server's node would have to do now, when it is down: nobody would do it. Users are not told which
// node that is.
func (c *call) nodeAnswers(in *cluster.Instance) error {
	if n, ok := c.view.Node(in.Node); ok && c.first() {
		switch up, err := c.answers(n); {
		case err != nil:
			return err
		case !up:
			return conflict("Service is unavailable at this time.")
		}
	}
	return nil
}

func newOperation() cluster.OperationID { return cluster.OperationID(rest.NewUUID()) }

// endResize makes the handler that confirms or reverts a resize, or a migration of a server that was off.
func endResize(name string, revert bool, status int) func(*call, *cluster.Instance, json.RawMessage) error {
	return func(c *call, in *cluster.Instance, _ json.RawMessage) error {
		if err := c.allowedIn(in, name, []cluster.VMState{cluster.VMResized}); err != nil {
			return err
		}
		if _, err := c.change(&cluster.EndMove{ID: in.ID, By: c.by(), Revert: revert}); err != nil {
			return err
		}
		return c.done(status)
	}
}

// migrateServer moves a server to another node, to one that is named from 2.56 on.
func migrateServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Host string `json:"host"`
	}
	if c.v >= 56 {
		var err error
		if body, err = decodeAction[struct {
			Host string `json:"host"`
		}]("migrate", raw, migrateSchema); err != nil {
			return err
		}
	}
	if err := c.allowedIn(in, "migrate", canMove); err != nil {
		return err
	}
	if err := c.nodeAnswers(in); err != nil {
		return err
	}
	if body.Host != "" {
		if err := c.allow("os-migrate-server:migrate:host", admin); err != nil {
			return err
		}
		n, err := c.destination(body.Host)
		if err != nil {
			return err
		}
		if n.ID == in.Node && c.first() {
			return bad("Cannot migrate to the host where the server exists.")
		}
	}
	return c.accept(&cluster.BeginMove{ID: in.ID, By: c.by(), Operation: newOperation(), What: cluster.OpMigrate, Host: body.Host})
}

// destination finds the node that a server is to go to.
func (c *call) destination(host string) (*cluster.Node, error) {
	n, ok := c.view.NodeNamed(host)
	if !ok {
		return nil, bad("Compute host %s could not be found.", host)
	}
	return n, nil
}
