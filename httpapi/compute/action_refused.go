package compute

import (
	"encoding/json"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var remoteConsoleSchema = schema.Wrap("remote_console", schema.Record(map[string]*schema.Schema{
	"protocol": {Enum: []any{"vnc", "spice", "rdp", "serial", "mks"}},
	"type":     {Enum: []any{"novnc", "xvpvnc", "spice-html5", "rdp-html5", "serial", "webmks"}},
}, "protocol", "type"))

// refusedActions are those that Kilonova does not have.
var refusedActions = map[string]serverAction{
	"addFloatingIp":       {rule: "os-floating-ips:add", who: member, until: 43, do: refused("addFloatingIp")},
	"removeFloatingIp":    {rule: "os-floating-ips:remove", who: member, until: 43, do: refused("removeFloatingIp")},
	"addSecurityGroup":    {rule: "os-security-groups:add", who: member, do: refused("addSecurityGroup")},
	"removeSecurityGroup": {rule: "os-security-groups:remove", who: member, do: refused("removeSecurityGroup")},
}

func refused(name string) func(*call, *cluster.Instance, json.RawMessage) error {
	return func(c *call, in *cluster.Instance, _ json.RawMessage) error {
		if err := c.unlocked(in); err != nil {
			return err
		}
		return unsupported("the action " + name)
	}
}
