package compute

import (
	"encoding/json"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// shelveActions put a server away in an image, and bring it back. A shelved server leaves its node at once, as with Nova's
// shelved_offload_time of 0, so there is never one left to be offloaded.
var shelveActions = map[string]serverAction{
	"shelve":        {rule: "os-shelve:shelve", who: member, do: shelveServer},
	"unshelve":      {rule: "os-shelve:unshelve", who: member, do: unshelveServer},
	"shelveOffload": {rule: "os-shelve:shelve_offload", who: admin, do: offloadServer},
}

// The microversions that gave unshelve a body.
const (
	unshelveZone version = 77
	unshelveHost version = 91
)

// unshelveSchema is what unshelve takes at a microversion.
func unshelveSchema(v version) *schema.Schema {
	if v < unshelveHost {
		return schema.Record(map[string]*schema.Schema{"availability_zone": schema.Text(0, 255)}, "availability_zone").OrNull()
	}
	return schema.Record(map[string]*schema.Schema{"availability_zone": schema.Text(0, 255).OrNull(), "host": schema.Text(0, 255)}).OrNull()
}

func shelveServer(c *call, in *cluster.Instance, _ json.RawMessage) error {
	if err := c.allowedIn(in, "shelve", canCapture); err != nil {
		return err
	}
	return c.accept(&cluster.BeginCapture{ID: in.ID, By: c.by(), Operation: newOperation(), What: cluster.OpShelve,
		Image: c.capturedImage(in, in.Spec.Name+"-shelved", "snapshot", nil)})
}

func offloadServer(c *call, in *cluster.Instance, _ json.RawMessage) error {
	return c.allowedIn(in, "shelveOffload", nil)
}

func unshelveServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Zone json.RawMessage `json:"availability_zone"`
		Host string          `json:"host"`
	}
	if c.v >= unshelveZone {
		if err := checkAction("unshelve", raw, unshelveSchema(c.v)); err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &body); err != nil {
			return bad("Malformed request body")
		}
	}
	if err := c.allowedIn(in, "unshelve", shelved); err != nil {
		return err
	}
	op := &cluster.UnshelveInstance{ID: in.ID, By: c.by(), Host: body.Host}
	if len(body.Zone) > 0 {
		op.Zone = new(string)
		if err := json.Unmarshal(body.Zone, op.Zone); err != nil { // null leaves it empty: any zone
			return bad("Malformed request body")
		}
	}
	if err := c.checkUnshelve(op, in); err != nil {
		return err
	}
	return c.accept(op)
}

// checkUnshelve refuses a place that there is not, or that the caller may not choose.
func (c *call) checkUnshelve(op *cluster.UnshelveInstance, in *cluster.Instance) error {
	zone := in.Spec.Scheduling.Zone
	if op.Zone != nil {
		zone = *op.Zone
		if zone != "" && !slices.Contains(c.zones(), zone) {
			return bad("The requested availability zone is not available")
		}
	}
	if op.Host == "" {
		return nil
	}
	if err := c.allow("os-shelve:unshelve_to_host", admin); err != nil {
		return err
	}
	n, err := c.destination(op.Host)
	if err != nil {
		return err
	}
	if zone != "" && c.view.ZoneOf(n) != zone {
		return conflict("Host \"%s\" is not in the availability zone \"%s\".", op.Host, zone)
	}
	return nil
}
