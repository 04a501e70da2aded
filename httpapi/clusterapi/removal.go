package clusterapi

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Removal is what would become of what a node has, if it were removed by force now.
type Removal struct {
	GoOn    []Parted `json:"go_on"`   // instances that are started elsewhere; with a reason: not before somebody has said that the node is down
	Lost    []Parted `json:"lost"`    // instances that end in error, and why
	Copies  []Parted `json:"copies"`  // instances on other nodes whose only current copy is here
	Volumes []string `json:"volumes"` // volumes that are here alone, by ID; their snapshots go with them
}

// Parted is an instance that loses something with a node.
type Parted struct {
	ID   cluster.InstanceID `json:"id"`
	Name string             `json:"name"`
	Why  string             `json:"why,omitempty"`
}

func (s *server) removal(r *http.Request) (any, error) {
	view, n, err := s.find(r)
	if err != nil {
		return nil, err
	}
	out := Removal{GoOn: []Parted{}, Lost: []Parted{}, Copies: []Parted{}, Volumes: []string{}}
	knows := view.AllKnow(cluster.CopyCommands)
	for in := range view.InstancesOn(n.ID) {
		if in.Wanted == cluster.WantDeleted {
			continue
		}
		if goesOn, why := view.Outlives(in); goesOn && knows {
			out.GoOn = append(out.GoOn, Parted{in.ID, in.Spec.Name, why})
		} else {
			out.Lost = append(out.Lost, Parted{in.ID, in.Spec.Name, why})
		}
	}
	for in := range view.CopiesOn(n.ID) {
		out.Copies = append(out.Copies, Parted{in.ID, in.Spec.Name, ""})
	}
	for v := range view.VolumesOn(n.ID) {
		if !v.Shared() && !v.File.Remove {
			out.Volumes = append(out.Volumes, string(v.ID))
		}
	}
	return map[string]any{"removal": out}, nil
}

func (s *server) removeNode(r *http.Request) (any, error) {
	view, n, err := s.find(r)
	if err != nil {
		return nil, err
	}
	force := r.URL.Query().Get("force") == "true"
	if m := s.Members.Members()[n.ID]; m.Up && !force && n.ID != s.Self {
		return nil, cluster.Errorf(cluster.Conflict,
			"Node %s is up: stop it with `kilonova node leave` there, or remove it with --force.", n.Name)
	}
	_, err = rest.Change(r, s.Backend, &cluster.RemoveNode{ID: n.ID, Force: force, Copies: view.AllKnow(cluster.CopyCommands)})
	return nil, err
}
