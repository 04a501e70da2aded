package compute

import (
	"encoding/json"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var liveActions = map[string]serverAction{
	"os-migrateLive": {rule: "os-migrate-server:migrate_live", who: admin, do: migrateLive},
}

// The microversions that changed the body of os-migrateLive.
const (
	liveAuto     version = 25 // block_migration may be "auto", disk_over_commit is gone
	liveForce    version = 30 // force is there
	liveAsync    version = 34 // what cannot work is found out afterwards
	liveUnforced version = 68 // force is gone
)

// liveSchema is what os-migrateLive takes at a microversion.
func liveSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{"host": schemaHost.OrNull(), "block_migration": schema.Boolean()}
	if v < liveAuto {
		known["disk_over_commit"] = schema.Boolean()
		return schema.Record(known, "block_migration", "disk_over_commit", "host")
	}
	auto := *schema.Boolean()
	auto.Enum = append(auto.Enum, "auto")
	known["block_migration"] = &auto
	if v >= liveForce && v < liveUnforced {
		known["force"] = schema.Boolean()
	}
	return schema.Record(known, "block_migration", "host")
}

// migrateLive moves a server that runs. Whether disk_over_commit is asked for makes no difference: room on the destination
// is counted as for any other server.
func migrateLive(c *call, in *cluster.Instance, raw json.RawMessage) error {
	body, err := decodeAction[struct {
		Host  string   `json:"host"`
		Block flexAny  `json:"block_migration"`
		Force flexBool `json:"force"`
	}]("os-migrateLive", raw, liveSchema(c.v))
	if err != nil {
		return err
	}
	if bool(body.Force) && body.Host == "" {
		return bad("Can't force to a non-provided destination")
	}
	if err := c.allowedIn(in, "os-migrateLive", []cluster.VMState{cluster.VMActive, cluster.VMPaused}); err != nil {
		return err
	}
	if err := c.checkEnds(in, body.Host); err != nil {
		return err
	}
	disks := "auto"
	if body.Block != "auto" {
		disks = "no"
		if body.Block.truth() {
			disks = "yes"
		}
	}
	return c.accept(&cluster.BeginMove{ID: in.ID, By: c.by(), Operation: newOperation(), What: cluster.OpLive, Host: body.Host,
		Forced: bool(body.Force), CopyDisks: disks})
}

// checkEnds refuses a live migration that cannot work because of one of its ends. Nova checks the destination afterwards from
// liveAsync on, and the migration fails then; a source that is down could not even say so. A repetition may find the server arrived.
func (c *call) checkEnds(in *cluster.Instance, host string) error {
	if !c.first() {
		return nil
	}
	if from, ok := c.view.Node(in.Node); ok {
		if err := c.serves(from); err != nil {
			return err
		}
	}
	if host == "" {
		return nil
	}
	to, err := c.destination(host)
	switch {
	case err != nil:
		return err
	case c.v >= liveAsync:
		return nil
	case to.ID == in.Node:
		return bad("Unable to migrate instance (%s) to current host (%s).", in.ID, host)
	}
	return c.serves(to)
}

// serves refuses an end of a live migration that is down.
func (c *call) serves(n *cluster.Node) error {
	switch up, err := c.answers(n); {
	case err != nil:
		return err
	case !up:
		return bad("Compute service of %s is unavailable at this time.", n.Name)
	}
	return nil
}
