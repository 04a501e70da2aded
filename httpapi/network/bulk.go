package network

import (
	"context"
	"net/http"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// undoTime is how long taking back what a request made may take.
const undoTime = 2 * time.Second

// creation is a request that makes things of one kind.
type creation struct {
	name string // "network"
	many bool   // the request came as a list, and so does the reply
	puts []cluster.Op
	undo func(id string) cluster.Op   // removes what a put made
	show func(id string) (any, error) // what the reply says of it
	fail func(error) error            // gives a refusal Neutron's name; nil: as it is
}

// create makes all or nothing: when one is refused, those before it are removed. Between, others can see them.
func (s *server) create(r *http.Request, c creation) (any, error) {
	var bodies []any
	var made []string
	for _, put := range c.puts {
		res, err := rest.Change(r, s.Backend, put)
		if err != nil {
			s.takeBack(r, c, made)
			if c.fail != nil {
				err = c.fail(err)
			}
			return nil, err
		}
		made = append(made, res.IDs[0])
		body, err := c.show(res.IDs[0])
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	if c.many {
		return map[string]any{c.name + "s": bodies}, nil
	}
	return map[string]any{c.name: bodies[0]}, nil
}

// takeBack removes what was made, as far as it can. A client that has gone away does not stop it.
func (s *server) takeBack(r *http.Request, c creation, ids []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), undoTime)
	defer cancel()
	for _, id := range ids {
		command := cluster.Command{ID: cluster.RequestID(rest.NewUUID()), Time: cluster.At(time.Now()), Op: c.undo(id)}
		if _, err := s.Backend.Propose(ctx, command); err != nil {
			rest.Log(r).Warn("half of a bulk request stays", "kind", c.name, "id", id, "err", err)
		}
	}
}
