package clusterapi

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Placement is why an instance is where it is, and where it would go now.
type Placement struct {
	Instance cluster.InstanceID `json:"instance"`
	Chosen   *Decision          `json:"chosen"` // null: not decided yet
	Now      Decision           `json:"now"`
}

// Decision is an explanation whose time is in the form of RFC 3339, as all times of this API are.
type Decision struct {
	At time.Time `json:"at"`
	cluster.Explanation
}

func decision(e cluster.Explanation) Decision { return Decision{At: e.At.Std(), Explanation: e} }

func (s *server) placement(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	id := cluster.InstanceID(chi.URLParam(r, "instance"))
	in, ok := view.Instance(id)
	if !ok {
		return nil, cluster.Errorf(cluster.NotFound, "Instance %s could not be found.", id)
	}
	out := Placement{Instance: id, Now: decision(s.Placer.Explain(in))}
	if in.Placement != nil {
		chosen := decision(*in.Placement)
		out.Chosen = &chosen
	}
	return out, nil
}
