package network

import (
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The bounds of texts and of an MTU (RFC 791 asks every link for 68 bytes).
const (
	maxName        = 255
	maxDescription = 255
	defaultMTU     = 1500
	minMTU         = 68
	maxMTU         = 65535
)

var networkAttributes = []string{
	"name", "description", "admin_state_up", "shared", "router:external", "mtu", "port_security_enabled", "tenant_id", "project_id",
	"provider:network_type", "provider:physical_network", "provider:segmentation_id", "is_default", "availability_zone_hints",
}

var networkErrors = map[cluster.Code]string{cluster.Conflict: "NetworkInUse"}

func (s *server) networkRoutes(r chi.Router) {
	r.Get("/networks", handle(http.StatusOK, s.listNetworks))
	r.Post("/networks", handle(http.StatusCreated, s.createNetworks))
	r.Get("/networks/{id}", handle(http.StatusOK, s.showNetwork))
	r.Put("/networks/{id}", handle(http.StatusOK, s.updateNetwork))
	r.Delete("/networks/{id}", handle(http.StatusNoContent, s.deleteNetwork))
	s.tagRoutes(r, "/networks", func(r *http.Request, c *rest.Caller) ([]string, error) {
		v, err := rest.View(r, s.Backend)
		if err != nil {
			return nil, err
		}
		n, err := findNetwork(v, c, chi.URLParam(r, "id"))
		if err != nil {
			return nil, err
		}
		return n.Tags, nil
	}, func(r *http.Request, c *rest.Caller, change func([]string) []string) error {
		_, err := s.changeNetwork(r, c, func(n *cluster.Network) error { n.Tags = change(n.Tags); return nil })
		return err
	})
}

// networkBody is what clients see.
// tidy: as many fields as Neutron shows, in its order.
type networkBody struct {
	ID             cluster.NetworkID  `json:"id"`
	Name           string             `json:"name"`
	TenantID       cluster.ProjectID  `json:"tenant_id"`
	AdminStateUp   bool               `json:"admin_state_up"`
	MTU            int                `json:"mtu"`
	Status         string             `json:"status"`
	Subnets        []cluster.SubnetID `json:"subnets"`
	Shared         bool               `json:"shared"`
	ZoneHints      []string           `json:"availability_zone_hints"`
	Zones          []string           `json:"availability_zones"`
	Scope4         *string            `json:"ipv4_address_scope"`
	Scope6         *string            `json:"ipv6_address_scope"`
	External       bool               `json:"router:external"`
	Description    string             `json:"description"`
	PortSecurity   bool               `json:"port_security_enabled"`
	QosPolicy      *string            `json:"qos_policy_id"`
	Tags           []string           `json:"tags"`
	CreatedAt      string             `json:"created_at"`
	UpdatedAt      string             `json:"updated_at"`
	RevisionNumber uint64             `json:"revision_number"`
	ProjectID      cluster.ProjectID  `json:"project_id"`
	*providerBody
}

// providerBody is what only administrators see of a network.
type providerBody struct {
	Type         string `json:"provider:network_type"`
	Physical     string `json:"provider:physical_network"`
	Segmentation *int   `json:"provider:segmentation_id"`
}

func networkItem(v *cluster.View, n *cluster.Network, c *rest.Caller) item {
	b := networkBody{
		ID: n.ID, Name: n.Name, TenantID: n.Project, ProjectID: n.Project, AdminStateUp: !n.Down, MTU: n.MTU, Status: "ACTIVE",
		Subnets: []cluster.SubnetID{}, Shared: n.Shared, ZoneHints: []string{}, Zones: zones(v), External: n.External,
		Description: n.Description, PortSecurity: n.PortSecurity, Tags: orEmpty(n.Tags),
		CreatedAt: rest.Nova(n.Created), UpdatedAt: rest.Nova(n.Updated), RevisionNumber: n.Revision,
	}
	if n.Down {
		b.Status = "DOWN"
	}
	for sub := range v.SubnetsOf(n.ID) {
		b.Subnets = append(b.Subnets, sub.ID)
	}
	if c.Admin() {
		b.providerBody = &providerBody{Type: "flat", Physical: n.Physical}
	}
	return item{id: string(n.ID), body: b, tags: n.Tags, values: map[string][]string{
		"id": one(string(n.ID)), "name": one(n.Name), "tenant_id": one(string(n.Project)), "project_id": one(string(n.Project)),
		"admin_state_up": flag(!n.Down), "status": one(b.Status), "shared": flag(n.Shared), "router:external": flag(n.External),
		"description": one(n.Description), "provider:network_type": one("flat"), "provider:physical_network": one(n.Physical),
		"port_security_enabled": flag(n.PortSecurity),
	}}
}

func seesNetwork(c *rest.Caller, n *cluster.Network) bool {
	return c.Sees(n.Project) || n.Shared || n.External
}

func (s *server) listNetworks(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	var items []item
	for n := range v.Networks() {
		if seesNetwork(c, n) {
			items = append(items, networkItem(v, n, c))
		}
	}
	return list(r, "networks", items)
}

func (s *server) showNetwork(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	n, err := findNetwork(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	return show(r, "network", networkItem(v, n, c))
}

func findNetwork(v *cluster.View, c *rest.Caller, id string) (*cluster.Network, error) {
	n, ok := v.Network(cluster.NetworkID(id))
	if !ok || !seesNetwork(c, n) {
		return nil, missing("Network", id)
	}
	return n, nil
}

func (s *server) createNetworks(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	all, many, err := objects(r, "network", networkAttributes)
	if err != nil {
		return nil, err
	}
	var puts []cluster.Op
	for _, a := range all {
		n := cluster.Network{ID: cluster.NetworkID(rest.NewUUID()), MTU: defaultMTU, PortSecurity: true}
		if n.Project, err = a.owner(c, "network"); err != nil {
			return nil, err
		}
		if err := applyNetwork(a, c, &n, "create_network"); err != nil {
			return nil, err
		}
		if n.Physical, err = physical(v, c, n.Physical); err != nil {
			return nil, err
		}
		puts = append(puts, &cluster.PutNetwork{Network: n})
	}
	return s.create(r, creation{
		name: "network", many: many, puts: puts,
		undo: func(id string) cluster.Op { return &cluster.DeleteNetwork{ID: cluster.NetworkID(id)} },
		show: func(id string) (any, error) { return s.networkNow(r, c, id) },
	})
}

// networkNow renders the network that a change made.
func (s *server) networkNow(r *http.Request, c *rest.Caller, id string) (any, error) {
	v, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	n, err := findNetwork(v, c, id)
	if err != nil {
		return nil, err
	}
	return networkItem(v, n, c).body, nil
}

// applyNetwork reads the attributes of a request into a network.
func applyNetwork(a attributes, c *rest.Caller, n *cluster.Network, rule string) error {
	err := a.adminOnly(c, rule, "shared", "router:external", "provider:network_type", "provider:physical_network", "provider:segmentation_id", "is_default")
	if err != nil {
		return err
	}
	up, kind, segment, byDefault := !n.Down, "flat", 0, false
	var hints []string
	for _, err := range []error{
		a.text("name", &n.Name, maxName), a.text("description", &n.Description, maxDescription),
		a.boolean("admin_state_up", &up), a.boolean("shared", &n.Shared), a.boolean("router:external", &n.External),
		a.boolean("port_security_enabled", &n.PortSecurity), read(a, "mtu", &n.MTU),
		a.text("provider:network_type", &kind, maxName), a.text("provider:physical_network", &n.Physical, maxName),
		read(a, "provider:segmentation_id", &segment), a.boolean("is_default", &byDefault), read(a, "availability_zone_hints", &hints),
	} {
		if err != nil {
			return err
		}
	}
	n.Down = !up
	if n.MTU == 0 {
		n.MTU = defaultMTU
	}
	switch {
	case kind != "flat" && kind != "":
		return invalid("network_type value '%s' not supported: networks here are flat", kind)
	case segment != 0:
		return invalid("segmentation_id specified for flat network")
	case byDefault, len(hints) > 0:
		return invalid("is_default and availability_zone_hints are not supported")
	case n.MTU < minMTU || n.MTU > maxMTU:
		return cluster.Errorf(cluster.Invalid, "Invalid input for mtu. Reason: '%d' is not between %d and %d.", n.MTU, minMTU, maxMTU)
	}
	return nil
}

func (s *server) updateNetwork(r *http.Request) (any, error) {
	_, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	a, err := single(r, "network", networkAttributes)
	if err != nil {
		return nil, err
	}
	if err := a.readOnly("tenant_id", "project_id", "availability_zone_hints"); err != nil {
		return nil, err
	}
	return s.changeNetwork(r, c, func(n *cluster.Network) error { return applyNetwork(a, c, n, "update_network") })
}

// changeNetwork changes the network of the path, and replies with it.
func (s *server) changeNetwork(r *http.Request, c *rest.Caller, change func(*cluster.Network) error) (any, error) {
	res, err := rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		n, err := ownNetwork(v, c, chi.URLParam(r, "id"))
		if err != nil {
			return nil, err
		}
		next := n.Clone()
		if err := change(next); err != nil {
			return nil, err
		}
		if next.Physical != n.Physical {
			return nil, invalid("plugin does not support updating provider attributes")
		}
		return &cluster.PutNetwork{Network: *next}, nil
	})
	if err != nil {
		return nil, err
	}
	body, err := s.networkNow(r, c, res.IDs[0])
	return map[string]any{"network": body}, err
}

// ownNetwork finds a network that the caller may change. One that it may only see is as good as not there: so Neutron
// answers whoever tries to change it.
func ownNetwork(v *cluster.View, c *rest.Caller, id string) (*cluster.Network, error) {
	n, err := findNetwork(v, c, id)
	if err == nil && !c.Sees(n.Project) {
		err = missing("Network", id)
	}
	return n, err
}

func (s *server) deleteNetwork(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	n, err := ownNetwork(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	_, err = rest.Change(r, s.Backend, &cluster.DeleteNetwork{ID: n.ID})
	return nil, typed(err, networkErrors)
}

// reader gives what a caller who may read needs.
func (s *server) reader(r *http.Request) (*cluster.View, *rest.Caller, error) {
	c := rest.CallerFrom(r.Context())
	if err := c.RequireReader(); err != nil {
		return nil, nil, err
	}
	v, err := rest.View(r, s.Backend)
	return v, c, err
}

// member gives what a caller who may act needs.
func (s *server) member(r *http.Request) (*cluster.View, *rest.Caller, error) {
	c := rest.CallerFrom(r.Context())
	if err := c.RequireMember(); err != nil {
		return nil, nil, err
	}
	v, err := rest.View(r, s.Backend)
	return v, c, err
}

// zones are the availability zones of the nodes.
func zones(v *cluster.View) []string {
	out := []string{}
	for n := range v.Hypervisors() {
		if zone := v.ZoneOf(n); !slices.Contains(out, zone) {
			out = append(out, zone)
		}
	}
	slices.Sort(out)
	return out
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
