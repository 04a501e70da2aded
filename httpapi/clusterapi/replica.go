package clusterapi

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Replica is the copy of an instance's root disk on another node.
type Replica struct {
	Node    string               `json:"node"`
	State   cluster.ReplicaState `json:"state"` // building, current, stale; the instance is started only from a current one
	Since   time.Time            `json:"since"`
	Why     string               `json:"why,omitempty"` // it is stale
	DiskGiB int64                `json:"disk_gib"`      // the room that it holds
}

// Copies is what there is of an instance's root disk besides the disk itself.
type Copies struct {
	Instance cluster.InstanceID `json:"instance"`
	Asked    bool               `json:"asked"` // the server or its flavor asks for a copy
	Replica  *Replica           `json:"replica"`
	Copyable bool               `json:"copyable"` // it runs, and nothing else is done to it: a copy that is missing is made
}

func (s *server) replica(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	id := cluster.InstanceID(chi.URLParam(r, "instance"))
	in, ok := view.Instance(id)
	if !ok {
		return nil, cluster.Errorf(cluster.NotFound, "Instance %s could not be found.", id)
	}
	out := Copies{Instance: id, Asked: in.AsksReplica(), Copyable: in.MayPlaceReplica() || in.MayMoveReplica()}
	if c := in.Replica; c != nil {
		out.Replica = &Replica{Node: string(c.Node), State: c.State, Since: c.Since.Std(), Why: c.Note, DiskGiB: c.DiskGiB}
		if c.Of != in.Epoch {
			out.Replica.State = cluster.ReplicaStale
		}
		if n, ok := view.Node(c.Node); ok {
			out.Replica.Node = n.Name
		}
	}
	return out, nil
}
