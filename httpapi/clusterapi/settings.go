package clusterapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Settings are those of the cluster, with times as Go writes them ("12s"). In a change, what is left out stays.
type Settings struct {
	Stop     string `json:"lease_stop,omitempty"` // without the leader's word for so long, a node ends its guarded instances
	Kill     string `json:"lease_kill,omitempty"` // which takes so long at most
	Dead     string `json:"lease_dead,omitempty"` // silent for so long, they are started elsewhere; in a change of the others: the least if left out
	Least    string `json:"lease_dead_least,omitempty"`
	Restarts *int   `json:"restarts,omitempty"` // at the same time
	Former   string `json:"lease_dead_former,omitempty"`
	Reserve  *int   `json:"reserve_nodes,omitempty"` // for whose loss room is kept
}

func (s *server) showSettings(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	return map[string]any{"settings": renderSettings(view.Settings())}, nil
}

func renderSettings(s cluster.Settings) Settings {
	out := Settings{
		Stop: s.Lease.Stop.String(), Kill: s.Lease.Kill.String(), Dead: s.Lease.Dead.String(), Least: s.Lease.Least().String(), Restarts: &s.Restarts,
		Reserve: &s.ReserveNodes,
	}
	if s.Former > 0 {
		out.Former = s.Former.String()
	}
	return out
}

func (s *server) changeSettings(r *http.Request) (any, error) {
	body, err := rest.DecodeStrict[struct {
		Settings Settings `json:"settings"`
	}](r)
	if err != nil {
		return nil, err
	}
	var changed cluster.Settings
	_, err = rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		next, err := body.Settings.onto(v.Settings())
		if err == nil && next.ReserveNodes > 0 && !v.AllKnow(cluster.KeyCommands) {
			err = cluster.Errorf(cluster.Conflict, "A node runs a version that knows no reserve: upgrade it first")
		}
		changed = next
		return &cluster.PutSettings{Settings: next}, err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"settings": renderSettings(changed)}, nil
}

// onto gives the settings with what was asked for.
func (s *Settings) onto(next cluster.Settings) (cluster.Settings, error) {
	for _, field := range []struct {
		name, text string
		to         *time.Duration
	}{{"lease_stop", s.Stop, &next.Lease.Stop}, {"lease_kill", s.Kill, &next.Lease.Kill}, {"lease_dead", s.Dead, &next.Lease.Dead}} {
		if field.text == "" {
			continue
		}
		d, err := time.ParseDuration(field.text)
		if err != nil || d <= 0 {
			return next, cluster.Errorf(cluster.Invalid, "%s is %q: want a time such as 12s", field.name, field.text)
		}
		*field.to = d
	}
	if s.Dead == "" && (s.Stop != "" || s.Kill != "") {
		next.Lease.Dead = next.Lease.Least()
	}
	if s.Restarts != nil {
		next.Restarts = *s.Restarts
	}
	if s.Reserve != nil {
		next.ReserveNodes = *s.Reserve
	}
	return next, nil
}

// confirmDead is an operator's word that a node is off. Of a node that answers it is refused: what runs there would run twice.
func (s *server) confirmDead(r *http.Request) (any, error) {
	_, n, err := s.find(r)
	if err != nil {
		return nil, err
	}
	if n.ID == s.Self || s.Members.Members()[n.ID].Up {
		return nil, cluster.Errorf(cluster.Conflict, "Node %s answers: it is not dead. Cut its power first.", n.Name)
	}
	_, err = rest.Change(r, s.Backend, &cluster.LoseNode{Node: n.ID, By: s.by(r)})
	return nil, err
}

// Forecast is what becomes of the instances of a node if that dies.
type Forecast struct {
	Node      string   `json:"node"`
	Restarted int      `json:"restarted"` // started elsewhere
	Homeless  []string `json:"homeless"`  // should be, and no node has room for them
	Tied      []string `json:"tied"`      // ask for it and cannot, each with the reason
	Waiting   int      `json:"waiting"`   // do not ask for it, and wait for their node
	Replicas  int      `json:"replicas"`  // current ones of other nodes' instances, which it keeps: others are made elsewhere
	Quorum    bool     `json:"quorum"`    // the others can still agree
}

// Check is what the loss of each node would mean, and whether the room is there that is to be kept.
type Check struct {
	Nodes   []Forecast `json:"nodes"`
	Reserve struct {
		Nodes int  `json:"nodes"` // for whose loss room is kept; 0: for none
		Kept  bool `json:"kept"`  // it is there
	} `json:"reserve"`
	Replicas struct {
		Asked   int `json:"asked"`   // instances that ask for one
		Current int `json:"current"` // and have one that they can be started from
	} `json:"replicas"`
}

// maxNamed bounds how many instances a forecast names of each sort.
const maxNamed = 50

func (s *server) check(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	members := s.Members.Members()
	voters, up := 0, 0
	for _, m := range members {
		if m.Voter {
			voters++
			if m.Up {
				up++
			}
		}
	}
	res := Check{Nodes: []Forecast{}}
	kept := map[cluster.NodeID]int{}
	for in := range view.Instances() {
		if in.AsksReplica() {
			res.Replicas.Asked++
		}
		if c := in.CurrentReplica(); c != nil {
			res.Replicas.Current++
			kept[c.Node]++
		}
	}
	for n := range view.Nodes() {
		f := s.forecast(view, n)
		f.Replicas = kept[n.ID]
		left := up
		if m := members[n.ID]; m.Voter && m.Up {
			left--
		}
		f.Quorum = left > voters/2
		res.Nodes = append(res.Nodes, f)
	}
	slices.SortFunc(res.Nodes, func(a, b Forecast) int { return strings.Compare(a.Node, b.Node) })
	res.Reserve.Nodes, res.Reserve.Kept = s.Placer.Reserve()
	return res, nil
}

func (s *server) forecast(view *cluster.View, n *cluster.Node) Forecast {
	f := Forecast{Node: n.Name, Homeless: []string{}, Tied: []string{}}
	fates := s.Placer.WithoutNode(n.ID)
	for in := range view.InstancesOn(n.ID) {
		fate, asks := fates[in.ID]
		switch {
		case asks && fate != "":
			f.Restarted++
		case asks && len(f.Homeless) < maxNamed:
			f.Homeless = append(f.Homeless, string(in.ID))
		case in.HA() && !asks && len(f.Tied) < maxNamed:
			f.Tied = append(f.Tied, string(in.ID)+": "+view.Tied(in))
		case !in.HA():
			f.Waiting++
		}
	}
	return f
}
