package clusterapi

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Keysmith makes keys.
type Keysmith interface {
	// NewKeys makes the command that begins to replace a keyset of a cluster. Its errors hold no secrets.
	NewKeys(which cluster.Keyset, clusterID string) (*cluster.BeginRotation, error)
}

// Rotation is how far the change of a keyset is.
type Rotation struct {
	Keys      cluster.Keyset  `json:"keys"`
	Step      cluster.KeyStep `json:"step"` // added, used, done; "": never changed
	Begun     *time.Time      `json:"begun,omitempty"`
	Ended     *time.Time      `json:"ended,omitempty"`
	KeepUntil *time.Time      `json:"keep_until,omitempty"` // the old one is taken until then at least
	Nodes     int             `json:"nodes"`
	Confirmed int             `json:"confirmed"` // nodes that have done the present step
	Waiting   []Awaited       `json:"waiting"`   // for whom the present step waits
	Without   int             `json:"without"`   // nodes that are not waited for
}

// Awaited is a node that has not confirmed a step.
type Awaited struct {
	Node  string `json:"node"`
	State string `json:"state"` // up, down
}

// rotateRequest begins a rotation, or with Force goes on without the nodes that have not confirmed.
type rotateRequest struct {
	Keep  string `json:"keep"` // such as 24h; "": as short as possible
	Force bool   `json:"force"`
}

func (s *server) listKeys(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	return map[string]any{"keys": s.rotations(view)}, nil
}

func (s *server) rotations(view *cluster.View) []Rotation {
	return []Rotation{s.rotation(view, cluster.KeysGossip), s.rotation(view, cluster.KeysAuthority)}
}

func (s *server) rotation(view *cluster.View, which cluster.Keyset) Rotation {
	out := Rotation{Keys: which, Waiting: []Awaited{}}
	for range view.Nodes() {
		out.Nodes++
	}
	r, ok := view.Rotation(which)
	if !ok {
		return out
	}
	begun := r.Begun.Std()
	out.Step, out.Begun, out.Confirmed, out.Without = r.Step, &begun, len(r.Confirmed), len(r.Without)
	if !r.UnderWay() {
		ended := r.Ended.Std()
		out.Ended, out.Confirmed = &ended, out.Nodes
		return out
	}
	if r.Keep > 0 {
		until := r.Begun.Add(r.Keep).Std()
		out.KeepUntil = &until
	}
	members := s.Members.Members()
	for n := range view.Awaited(r) {
		if len(out.Waiting) == maxNamed {
			break
		}
		state := "down"
		if n.ID == s.Self || members[n.ID].Up {
			state = "up"
		}
		out.Waiting = append(out.Waiting, Awaited{Node: n.Name, State: state})
	}
	return out
}

// rotateKeys begins a rotation, or forces the one that is under way. It answers at once; listKeys tells how far it is.
func (s *server) rotateKeys(r *http.Request) (any, error) {
	req, err := rest.DecodeStrict[rotateRequest](r)
	if err != nil {
		return nil, err
	}
	var keep time.Duration
	if req.Keep != "" {
		if keep, err = time.ParseDuration(req.Keep); err != nil {
			return nil, cluster.Errorf(cluster.Invalid, "keep is %q: want a time such as 24h", req.Keep)
		}
	}
	which := cluster.Keyset(chi.URLParam(r, "keys"))
	_, err = rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		if !v.AllKnow(cluster.KeyCommands) {
			return nil, cluster.Errorf(cluster.Conflict, "A node runs a version that cannot rotate keys: upgrade it first")
		}
		old, ok := v.Rotation(which)
		switch under := ok && old.UnderWay(); {
		case req.Force && !under:
			return nil, cluster.Errorf(cluster.Conflict, "No rotation of the %.80s key is under way", string(which))
		case req.Force:
			return &cluster.AdvanceRotation{Keys: which, Since: old.Since, Force: true}, nil
		case v.Authority() == nil:
			return nil, cluster.Errorf(cluster.Unavailable, "this node has not caught up with the cluster yet: try again")
		}
		op, err := s.Keysmith.NewKeys(which, v.Authority().ClusterID)
		if err == nil {
			op.Keep = keep
		}
		return op, err
	})
	if err != nil {
		return nil, err
	}
	return s.rotation(s.Backend.Local(), which), nil
}
