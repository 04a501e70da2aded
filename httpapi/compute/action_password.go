package compute

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var passwordActions = map[string]serverAction{
	"changePassword": {rule: "os-admin-password", who: member, body: passwordSchema, do: changePassword},
}

var passwordSchema = schema.Record(map[string]*schema.Schema{"adminPass": schema.Text(0, 0)}, "adminPass")

// changePassword sets the administrator's password through the guest's agent. It is kept nowhere else.
func changePassword(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		AdminPass string `json:"adminPass"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	if err := c.allowedIn(in, "changePassword", []cluster.VMState{cluster.VMActive}); err != nil {
		return err
	}
	if c.Inside == nil {
		return unsupported("changePassword")
	}
	err := c.recorded(in, did{"changePassword", "compute_set_admin_password"}, func(ctx context.Context) error {
		err := c.Inside.SetPassword(ctx, in, adminOf(in), body.AdminPass)
		if cluster.CodeOf(err) == cluster.Unsupported {
			return conflict("QEMU guest agent is not enabled")
		}
		return err
	})
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json") // although there is no body, as in Nova
	return c.done(http.StatusAccepted)
}

// adminOf is the user whose password is set: the one that the image names, or the usual one of its operating system.
func adminOf(in *cluster.Instance) string {
	p := in.Spec.Boot.Properties
	switch {
	case p["os_admin_user"] != "":
		return p["os_admin_user"]
	case p["os_type"] == "windows":
		return "Administrator"
	}
	return "root"
}
