package clusterapi

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Drain is how far the draining of a node is.
type Drain struct {
	Left   int      `json:"left"`   // instances that the node still has something of
	Moving int      `json:"moving"` // of them: on their way
	Stuck  int      `json:"stuck"`  // of them: not able to leave now
	Held   []string `json:"held"`   // those that are stuck, each with its ID and the reason; bounded

	Copies      int                  `json:"copies"`       // copies of disks of instances on other nodes that are to leave, too
	CopiesStuck int                  `json:"copies_stuck"` // of them: not able to leave now; they are among Held
	Copied      []cluster.InstanceID `json:"copied"`       // whose copies they are; bounded
}

func (s *server) drain(on bool) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		_, err := rest.Update(r, s.Backend, func(*cluster.View) (cluster.Op, error) {
			_, n, err := s.find(r)
			if err != nil {
				return nil, err
			}
			service := n.Service
			service.Draining = on
			return &cluster.SetNodeService{ID: n.ID, Service: service, Revision: n.Revision}, nil
		})
		return nil, err
	}
}

// How many instances are named that cannot leave a node, and whose copies are to.
const (
	maxHeld   = 50
	maxCopied = 1000
)

// drainOf looks how far a node is drained.
func (s *server) drainOf(view *cluster.View, node cluster.NodeID) *Drain {
	d := &Drain{Held: []string{}, Copied: []cluster.InstanceID{}}
	name := func(in *cluster.Instance, why string) {
		if len(d.Held) < maxHeld {
			d.Held = append(d.Held, string(in.ID)+": "+why)
		}
	}
	held := func(in *cluster.Instance, why string) {
		d.Stuck++
		name(in, why)
	}
	for in := range view.InstancesOn(node) {
		d.Left++
		kind, why := in.WayOut()
		switch {
		case in.OnItsWay():
			d.Moving++
		case kind == "":
			held(in, why)
		default:
			if why := view.CameBack(in.ID); why != "" {
				held(in, why+" (it is tried again)")
			}
		}
	}
	for in := range view.UnderWay() {
		if !in.Leftover(node) {
			continue
		}
		d.Left++
		if in.OnItsWay() {
			d.Moving++
		} else {
			held(in, "it was moved or resized to another node, and its user has not confirmed that")
		}
	}
	for in := range view.Instances() {
		if !in.CopyLeaves(node) {
			continue
		}
		d.Copies++
		if len(d.Copied) < maxCopied {
			d.Copied = append(d.Copied, in.ID)
		}
		why := in.CopyStays()
		if why == "" && in.MayMoveReplica() {
			why = s.Placer.NoPlaceForCopy(in)
		}
		if why != "" {
			d.CopiesStuck++
			name(in, "its copy stays: "+why)
		}
	}
	return d
}
