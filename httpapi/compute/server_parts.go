package compute

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
)

// groupSpace makes the IDs of the default security groups.
var groupSpace = uuid.MustParse("6b1d1f0e-5d5c-5e6f-9a53-0c9f6e2f7a11")

// defaultGroupID is the ID of a project's default security group. There are no other groups, so it is made of the
// project's ID instead of being kept.
func defaultGroupID(p cluster.ProjectID) string { return uuid.NewSHA1(groupSpace, []byte(p)).String() }

// listGroups shows the default security group of a server that has a filtered port.
func (c *call) listGroups() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("security_groups").open('[')
	if c.newRenderer().filtered(in) {
		j.open('{').field("id", defaultGroupID(in.Project)).field("description", "Default security group").field("name", defaultGroup)
		j.field("tenant_id", string(in.Project)).key("rules").open('[').close(']').close('}')
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showTopology() error {
	if _, err := c.server(); err != nil {
		return err
	}
	var j writer
	j.open('{').key("nodes").open('[').close(']').key("pagesize_kb").null().close('}')
	return c.send(http.StatusOK, &j)
}

// showPassword is the password that a guest encrypted and posted, which none can here.
func (c *call) showPassword() error {
	if _, err := c.server(); err != nil {
		return err
	}
	var j writer
	j.open('{').field("password", "").close('}')
	return c.send(http.StatusOK, &j)
}

// clearPassword forgets that password, of which there is none.
func (c *call) clearPassword() error {
	if _, err := c.server(); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}
