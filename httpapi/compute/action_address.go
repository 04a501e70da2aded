package compute

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// addressActions give a server's port another address, and take one away, as clients did before 2.44.
var addressActions = map[string]serverAction{
	"addFixedIp":    {rule: "os-multinic:add", who: member, until: 43, body: addAddressSchema, do: addAddress},
	"removeFixedIp": {rule: "os-multinic:remove", who: member, until: 43, body: removeAddressSchema, do: removeAddress},
}

var (
	addAddressSchema = schema.Record(map[string]*schema.Schema{
		"networkId": {Types: []string{"string", "integer"}, MinLength: 1, MaxLength: 36}}, "networkId")
	removeAddressSchema = schema.Record(map[string]*schema.Schema{"address": schema.Text(0, 0).Formatted(formatIP)}, "address")
)

func addAddress(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Network flexText `json:"networkId"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	return c.changePort(in, func(p *cluster.Port) bool {
		if p.Network != cluster.NetworkID(body.Network) {
			return false
		}
		for s := range c.view.SubnetsOf(p.Network) {
			p.FixedIPs = append(p.FixedIPs, cluster.FixedIP{Subnet: s.ID})
			return true
		}
		return false
	}, bad("Network %s could not be found for instance %s.", body.Network, in.ID))
}

func removeAddress(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	address := canonicalIP(body.Address)
	return c.changePort(in, func(p *cluster.Port) bool {
		at := slices.IndexFunc(p.FixedIPs, func(f cluster.FixedIP) bool { return f.Address == address })
		if at < 0 {
			return false
		}
		p.FixedIPs = slices.Delete(p.FixedIPs, at, at+1)
		return true
	}, bad("Instance %s does not have fixed IP '%s'.", in.ID, address))
}

// changePort stores the first port of the server that change changes. none is the error when there is no such port; a repetition finds
// none when the first one changed it.
func (c *call) changePort(in *cluster.Instance, change func(*cluster.Port) bool, none error) error {
	if err := c.unlocked(in); err != nil {
		return err
	}
	err := c.update(func(v *cluster.View) (cluster.Op, error) {
		c.view = v
		now, ok := v.Instance(in.ID)
		if !ok {
			return nil, noInstance(string(in.ID))
		}
		for _, id := range now.Ports {
			if p, ok := v.Port(id); ok {
				if p = p.Clone(); change(p) {
					return &cluster.PutPort{Port: *p, Bare: true}, nil
				}
			}
		}
		if !c.first() {
			return nil, nil
		}
		return nil, none
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
