package compute

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

// unlocked refuses changes of a locked server by anybody but an administrator.
func (c *call) unlocked(in *cluster.Instance) error {
	if in.Spec.Locked != "" && !c.caller.Admin() && c.first() {
		return conflict("Instance %s is locked", in.ID)
	}
	return nil
}

// changeServer changes the server that the path names. decide is asked again with a newer server when another change came
// between; a nil op changes nothing.
func (c *call) changeServer(decide func(*cluster.Instance) (*cluster.UpdateInstance, error)) error {
	return c.update(func(v *cluster.View) (cluster.Op, error) {
		c.view = v
		in, err := c.server()
		if err != nil {
			return nil, err
		}
		op, err := decide(in)
		if err != nil || op == nil {
			return nil, err
		}
		op.ID, op.Revision = in.ID, in.Revision
		return op, nil
	})
}

func (c *call) updateServer() error {
	body, err := decode[struct {
		Server struct {
			Name        *string      `json:"name"`
			Description optionalText `json:"description"`
			Hostname    *string      `json:"hostname"`
			DiskConfig  *string      `json:"OS-DCF:diskConfig"`
			IPv4        *string      `json:"accessIPv4"`
			IPv6        *string      `json:"accessIPv6"`
		} `json:"server"`
	}](c, updateSchema(c.v))
	if err != nil {
		return err
	}
	b := body.Server
	err = c.changeServer(func(in *cluster.Instance) (*cluster.UpdateInstance, error) { // a lock does not matter
		op := &cluster.UpdateInstance{Name: b.Name, Hostname: b.Hostname, DiskConfig: b.DiskConfig, Description: b.Description.to}
		if b.IPv4 != nil || b.IPv6 != nil {
			op.Access = newAccess(in.Spec.Access, b.IPv4, b.IPv6)
		}
		return op, nil
	})
	if err != nil {
		return err
	}
	in, err := c.server()
	if err != nil {
		return err
	}
	return c.sendServer(http.StatusOK, in, extent{summary: c.v < 75})
}

// optionalText tells null, which empties a text, from nothing, which leaves it as it is.
type optionalText struct {
	to *string
}

// UnmarshalJSON reads a string, or null.
func (o *optionalText) UnmarshalJSON(b []byte) error {
	o.to = new(string)
	return (*flexText)(o.to).UnmarshalJSON(b)
}

func (c *call) deleteServer() error {
	reclaim := cluster.Time(0)
	if c.DeferredDelete > 0 {
		reclaim = cluster.At(c.Now().Add(c.DeferredDelete))
	}
	if err := c.destroy(reclaim); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

// destroy asks for the server that the path names to go; with a time, softly until then.
func (c *call) destroy(reclaim cluster.Time) error {
	in, err := c.server()
	if err != nil {
		return c.unlessRepeated(err)
	}
	if err := c.unlocked(in); err != nil {
		return err
	}
	_, err = c.change(&cluster.DeleteInstance{ID: in.ID, Request: c.caller.RequestID, User: c.caller.User.ID, Project: c.caller.ProjectID(),
		Reclaim: reclaim})
	return err
}

// unlessRepeated is err, unless the request may be the repetition of one that removed the server.
func (c *call) unlessRepeated(err error) error {
	gone, ok := c.view.DeletedInstance(cluster.InstanceID(c.param("server")))
	if c.first() || !ok || !c.caller.Sees(gone.Project) {
		return err
	}
	return nil
}
