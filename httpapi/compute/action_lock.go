package compute

import (
	"encoding/json"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

var lockActions = map[string]serverAction{
	"lock":   {rule: "os-lock-server:lock", who: member, do: lockServer},
	"unlock": {rule: "os-lock-server:unlock", who: member, do: unlockServer},
}

var lockSchema = schema.Schema{Types: []string{"object"}, Object: &schema.Members{
	Known: map[string]*schema.Schema{"locked_reason": schema.Text(1, 255)}}}

// Who locked a server. What an administrator locked, only an administrator may unlock.
const (
	lockedByOwner = "owner"
	lockedByAdmin = "admin"
)

func lockServer(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Lock struct {
			Reason string `json:"locked_reason"`
		} `json:"lock"`
	}
	if c.v >= 73 {
		var err error
		if body.Lock, err = schema.Into[struct {
			Reason string `json:"locked_reason"`
		}](raw, lockSchema.OrNull()); err != nil {
			return err
		}
	}
	return c.setLock(func(now *cluster.Instance) (by, reason string, err error) {
		if by = lockedByOwner; now.Project != c.caller.ProjectID() {
			by = lockedByAdmin
		}
		return by, body.Lock.Reason, nil
	})
}

func unlockServer(c *call, in *cluster.Instance, _ json.RawMessage) error {
	return c.setLock(func(now *cluster.Instance) (by, reason string, err error) {
		if now.Spec.Locked == lockedByAdmin {
			return "", "", c.allow("os-lock-server:unlock:unlock_override", admin)
		}
		return "", "", nil
	})
}

func (c *call) setLock(decide func(*cluster.Instance) (by, reason string, err error)) error {
	err := c.changeServer(func(in *cluster.Instance) (*cluster.UpdateInstance, error) {
		by, reason, err := decide(in)
		if err != nil {
			return nil, err
		}
		asked := c.by()
		return &cluster.UpdateInstance{Locked: &by, LockReason: &reason, By: &asked}, nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
