package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/compute/schema"
)

var remoteConsoleSchema = schema.Wrap("remote_console", schema.Record(map[string]*schema.Schema{
	"protocol": {Enum: []any{"vnc", "spice", "rdp", "serial", "mks"}},
	"type":     {Enum: []any{"novnc", "xvpvnc", "spice-html5", "rdp-html5", "serial", "webmks"}},
}, "protocol", "type"))

// stateActions are those that no server is ever in the state for, and the deletion that waits for nothing.
var stateActions = map[string]serverAction{
	"forceDelete":   {rule: "os-deferred-delete:force", who: member, do: forceDelete},
	"restore":       {rule: "os-deferred-delete:restore", who: member, do: wrongState("restore")},
	"confirmResize": {rule: "servers:confirm_resize", who: member, do: wrongState("confirmResize")},
	"revertResize":  {rule: "servers:revert_resize", who: member, do: wrongState("revertResize")},
	"unpause":       {rule: "os-pause-server:unpause", who: member, do: wrongState("unpause")},
	"resume":        {rule: "os-suspend-server:resume", who: member, do: wrongState("resume")},
	"unrescue":      {rule: "os-unrescue", who: member, do: wrongState("unrescue")},
	"unshelve":      {rule: "os-shelve:unshelve", who: member, do: wrongState("unshelve")},
	"shelveOffload": {rule: "os-shelve:shelve_offload", who: admin, do: wrongState("shelveOffload")},
}

// refusedActions are those that Kilonova does not have.
var refusedActions = map[string]serverAction{
	"pause":               {rule: "os-pause-server:pause", who: member, do: refused("pause")},
	"suspend":             {rule: "os-suspend-server:suspend", who: member, do: refused("suspend")},
	"rebuild":             {rule: "servers:rebuild", who: member, do: refused("rebuild")},
	"resize":              {rule: "servers:resize", who: member, do: refused("resize")},
	"createImage":         {rule: "servers:create_image", who: member, do: refused("createImage")},
	"createBackup":        {rule: "os-create-backup", who: member, do: refused("createBackup")},
	"rescue":              {rule: "os-rescue", who: member, do: refused("rescue")},
	"shelve":              {rule: "os-shelve:shelve", who: member, do: refused("shelve")},
	"addFloatingIp":       {rule: "os-floating-ips:add", who: member, until: 43, do: refused("addFloatingIp")},
	"removeFloatingIp":    {rule: "os-floating-ips:remove", who: member, until: 43, do: refused("removeFloatingIp")},
	"addFixedIp":          {rule: "os-multinic:add", who: member, until: 43, do: refused("addFixedIp")},
	"removeFixedIp":       {rule: "os-multinic:remove", who: member, until: 43, do: refused("removeFixedIp")},
	"addSecurityGroup":    {rule: "os-security-groups:add", who: member, do: refused("addSecurityGroup")},
	"removeSecurityGroup": {rule: "os-security-groups:remove", who: member, do: refused("removeSecurityGroup")},
	"migrate":             {rule: "os-migrate-server:migrate", who: admin, do: refused("migrate")},
	"os-migrateLive":      {rule: "os-migrate-server:migrate_live", who: admin, do: refused("os-migrateLive")},
	"evacuate":            {rule: "os-evacuate", who: admin, do: refused("evacuate")},
	"os-resetState":       {rule: "os-admin-actions:reset_state", who: admin, do: refused("os-resetState")},
	"resetNetwork":        {rule: "os-admin-actions:reset_network", who: admin, until: 92, do: refused("resetNetwork")},
	"injectNetworkInfo":   {rule: "os-admin-actions:inject_network_info", who: admin, until: 92, do: refused("injectNetworkInfo")},
}

func refused(name string) func(*call, *cluster.Instance, json.RawMessage) error {
	return func(c *call, in *cluster.Instance, _ json.RawMessage) error {
		if err := c.unlocked(in); err != nil {
			return err
		}
		return unsupported("the action " + name)
	}
}

func wrongState(name string) func(*call, *cluster.Instance, json.RawMessage) error {
	return func(c *call, in *cluster.Instance, _ json.RawMessage) error {
		if err := c.unlocked(in); err != nil {
			return err
		}
		return conflict("Cannot '%s' instance %s while it is in vm_state %s", name, in.ID, in.Status.VM)
	}
}

func forceDelete(c *call, _ *cluster.Instance, _ json.RawMessage) error {
	if err := c.destroy(); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
