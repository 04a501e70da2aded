package network

import (
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// extension is a part of Neutron's API that is served.
type extension struct {
	Name        string   `json:"name"`
	Alias       string   `json:"alias"`
	Description string   `json:"description"`
	Updated     string   `json:"updated"`
	Links       []string `json:"links"`
}

// extensions are those that this service has, and no others: clients ask before they use one.
var extensions = []extension{
	{"agent", "agent", "The nodes of the cluster, as agents.", "2013-02-03T10:00:00-00:00", []string{}},
	{"Availability Zone", "availability_zone", "The availability zones of the nodes.", "2015-01-01T10:00:00-00:00", []string{}},
	{"Port Binding", "binding", "Where a port is.", "2014-02-03T10:00:00-00:00", []string{}},
	{"Neutron external network", "external-net", "The attribute router:external.", "2013-01-14T10:00:00-00:00", []string{}},
	{"Network MTU", "net-mtu", "The MTU of a network.", "2015-03-25T10:00:00-00:00", []string{}},
	{"Network MTU (writable)", "net-mtu-writable", "The MTU of a network can be changed.", "2017-07-12T00:00:00-00:00", []string{}},
	{"Port Security", "port-security", "Filters against false addresses can be switched off.", "2012-07-23T10:00:00-00:00", []string{}},
	{"project_id field enabled", "project-id", "project_id beside tenant_id.", "2016-09-09T09:09:09-09:09", []string{}},
	{"Provider Network", "provider", "The physical network of a network.", "2012-09-07T10:00:00-00:00", []string{}},
	{"Quota management support", "quotas", "Limits for each project.", "2012-07-29T10:00:00-00:00", []string{}},
	{"Quota details management support", "quota_details", "What is used of each limit.", "2017-02-10T10:00:00-00:00", []string{}},
	{"standard-attr-description", "standard-attr-description", "A description of each resource.", "2016-02-10T10:00:00-00:00", []string{}},
	{"standard-attr-revisions", "standard-attr-revisions", "A revision number of each resource.", "2016-04-11T10:00:00-00:00", []string{}},
	{"standard-attr-timestamp", "standard-attr-timestamp", "When each resource was made and changed.", "2016-09-12T10:00:00-00:00", []string{}},
	{"Tag support for resources with standard attribute", "standard-attr-tag", "Tags of networks, subnets and ports.", "2017-01-01T00:00:00-00:00", []string{}},
}

func (s *server) listExtensions(*http.Request) (any, error) {
	return map[string]any{"extensions": extensions}, nil
}

func (s *server) showExtension(r *http.Request) (any, error) {
	alias := chi.URLParam(r, "alias")
	i := slices.IndexFunc(extensions, func(e extension) bool { return e.Alias == alias })
	if i < 0 {
		return nil, cluster.Errorf(cluster.NotFound, "Extension with alias %s does not exist", clip(alias))
	}
	return map[string]any{"extension": extensions[i]}, nil
}

type agent struct {
	ID             cluster.NodeID `json:"id"`
	Type           string         `json:"agent_type"`
	Binary         string         `json:"binary"`
	Topic          string         `json:"topic"`
	Host           string         `json:"host"`
	AdminStateUp   bool           `json:"admin_state_up"`
	CreatedAt      string         `json:"created_at"`
	StartedAt      string         `json:"started_at"`
	Heartbeat      string         `json:"heartbeat_timestamp"`
	Description    *string        `json:"description"`
	Synced         *bool          `json:"resources_synced"`
	Zone           string         `json:"availability_zone"`
	Alive          bool           `json:"alive"`
	Configurations map[string]any `json:"configurations"`
}

// agentTime is how Neutron writes the times of agents, and of nothing else.
func agentTime(t cluster.Time) string { return t.Std().UTC().Format(time.DateTime) }

// listAgents shows each node as the agent that wires its bridges.
func (s *server) listAgents(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	if !c.Admin() { // as in Neutron, where a policy hides each agent instead of the list
		return list(r, "agents", nil)
	}
	var items []item
	for n := range v.Hypervisors() {
		up, heard := s.Liveness.Liveness(n.ID)
		if up {
			heard = time.Now()
		}
		a := agent{
			ID: n.ID, Type: "Linux bridge agent", Binary: "kilonova", Topic: "N/A", Host: n.Name, AdminStateUp: !n.Service.Disabled,
			CreatedAt: agentTime(n.Enrolled), StartedAt: agentTime(n.Enrolled), Heartbeat: agentTime(cluster.At(heard)),
			Zone: v.ZoneOf(n), Alive: up, Configurations: map[string]any{"bridge_mappings": n.Bridges},
		}
		items = append(items, item{id: string(n.ID), body: a, values: map[string][]string{
			"id": one(string(n.ID)), "host": one(n.Name), "agent_type": one(a.Type), "binary": one(a.Binary), "alive": flag(up),
			"admin_state_up": flag(a.AdminStateUp), "availability_zone": one(a.Zone),
		}})
	}
	return list(r, "agents", items)
}

func (s *server) listZones(r *http.Request) (any, error) {
	v, _, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, z := range zones(v) {
		items = append(items, item{id: z, body: map[string]string{"name": z, "resource": "network", "state": "available"},
			values: map[string][]string{"name": one(z)}})
	}
	return list(r, "availability_zones", items)
}
