package network

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

var subnetAttributes = []string{
	"name", "description", "network_id", "cidr", "ip_version", "gateway_ip", "enable_dhcp", "allocation_pools", "dns_nameservers",
	"host_routes", "tenant_id", "project_id", "ipv6_ra_mode", "ipv6_address_mode", "subnetpool_id", "service_types", "prefixlen",
}

// unsupportedSubnet are attributes that clients send with a value that means "none".
var unsupportedSubnet = []string{"ipv6_ra_mode", "ipv6_address_mode", "subnetpool_id", "prefixlen"}

var subnetErrors = map[cluster.Code]string{cluster.Conflict: "SubnetInUse"}

func (s *server) subnetRoutes(r chi.Router) {
	r.Get("/subnets", handle(http.StatusOK, s.listSubnets))
	r.Post("/subnets", handle(http.StatusCreated, s.createSubnets))
	r.Get("/subnets/{id}", handle(http.StatusOK, s.showSubnet))
	r.Put("/subnets/{id}", handle(http.StatusOK, s.updateSubnet))
	r.Delete("/subnets/{id}", handle(http.StatusNoContent, s.deleteSubnet))
	s.tagRoutes(r, "/subnets", func(r *http.Request, c *rest.Caller) ([]string, error) {
		v, err := rest.View(r, s.Backend)
		if err != nil {
			return nil, err
		}
		n, err := findSubnet(v, c, chi.URLParam(r, "id"))
		if err != nil {
			return nil, err
		}
		return n.Tags, nil
	}, func(r *http.Request, c *rest.Caller, change func([]string) []string) error {
		_, err := s.changeSubnet(r, c, func(n *cluster.Subnet) error { n.Tags = change(n.Tags); return nil })
		return err
	})
}

// subnetBody is what clients see.
// tidy: as many fields as Neutron shows, in its order.
type subnetBody struct {
	ID             cluster.SubnetID      `json:"id"`
	Name           string                `json:"name"`
	TenantID       cluster.ProjectID     `json:"tenant_id"`
	NetworkID      cluster.NetworkID     `json:"network_id"`
	IPVersion      int                   `json:"ip_version"`
	Pool           *string               `json:"subnetpool_id"`
	DHCP           bool                  `json:"enable_dhcp"`
	RAMode         *string               `json:"ipv6_ra_mode"`
	AddressMode    *string               `json:"ipv6_address_mode"`
	Gateway        *string               `json:"gateway_ip"`
	CIDR           string                `json:"cidr"`
	Pools          []cluster.AddressPool `json:"allocation_pools"`
	Routes         []cluster.Route       `json:"host_routes"`
	DNS            []string              `json:"dns_nameservers"`
	Description    string                `json:"description"`
	ServiceTypes   []string              `json:"service_types"`
	Tags           []string              `json:"tags"`
	CreatedAt      string                `json:"created_at"`
	UpdatedAt      string                `json:"updated_at"`
	RevisionNumber uint64                `json:"revision_number"`
	ProjectID      cluster.ProjectID     `json:"project_id"`
}

func subnetItem(n *cluster.Subnet) item {
	b := subnetBody{
		ID: n.ID, Name: n.Name, TenantID: n.Project, ProjectID: n.Project, NetworkID: n.Network, IPVersion: ipVersion(n.CIDR),
		DHCP: n.DHCP, Gateway: rest.OrNull(n.Gateway), CIDR: n.CIDR, Pools: n.Pools, Routes: n.Routes, DNS: orEmpty(n.DNS),
		Description: n.Description, ServiceTypes: []string{}, Tags: orEmpty(n.Tags),
		CreatedAt: rest.Nova(n.Created), UpdatedAt: rest.Nova(n.Updated), RevisionNumber: n.Revision,
	}
	if b.Pools == nil {
		b.Pools = []cluster.AddressPool{}
	}
	if b.Routes == nil {
		b.Routes = []cluster.Route{}
	}
	version := "4"
	if b.IPVersion == 6 {
		version = "6"
	}
	return item{id: string(n.ID), body: b, tags: n.Tags, values: map[string][]string{
		"id": one(string(n.ID)), "name": one(n.Name), "tenant_id": one(string(n.Project)), "project_id": one(string(n.Project)),
		"network_id": one(string(n.Network)), "ip_version": one(version), "cidr": one(n.CIDR), "gateway_ip": one(n.Gateway),
		"enable_dhcp": flag(n.DHCP), "description": one(n.Description),
	}}
}

func seesSubnet(v *cluster.View, c *rest.Caller, n *cluster.Subnet) bool {
	network, ok := v.Network(n.Network)
	return c.Sees(n.Project) || ok && seesNetwork(c, network)
}

func findSubnet(v *cluster.View, c *rest.Caller, id string) (*cluster.Subnet, error) {
	n, ok := v.Subnet(cluster.SubnetID(id))
	if !ok || !seesSubnet(v, c, n) {
		return nil, missing("Subnet", id)
	}
	return n, nil
}

func (s *server) listSubnets(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	var items []item
	for n := range v.Subnets() {
		if seesSubnet(v, c, n) {
			items = append(items, subnetItem(n))
		}
	}
	return list(r, "subnets", items)
}

func (s *server) showSubnet(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	n, err := findSubnet(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	return show(r, "subnet", subnetItem(n))
}

func (s *server) createSubnets(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	all, many, err := objects(r, "subnet", subnetAttributes)
	if err != nil {
		return nil, err
	}
	var puts []cluster.Op
	for _, a := range all {
		n, err := newSubnet(v, c, a)
		if err != nil {
			return nil, err
		}
		puts = append(puts, &cluster.PutSubnet{Subnet: n})
	}
	return s.create(r, creation{
		name: "subnet", many: many, puts: puts, fail: subnetRefusal,
		undo: func(id string) cluster.Op { return &cluster.DeleteSubnet{ID: cluster.SubnetID(id)} },
		show: func(id string) (any, error) { return s.subnetNow(r, c, id) },
	})
}

// subnetRefusal gives Neutron's names. What conflicts is a pool with another, or a range with another that came between.
func subnetRefusal(err error) error {
	return typed(err, map[cluster.Code]string{cluster.Conflict: "OverlappingAllocationPools", cluster.Invalid: "InvalidInput"})
}

func (s *server) subnetNow(r *http.Request, c *rest.Caller, id string) (any, error) {
	v, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	n, err := findSubnet(v, c, id)
	if err != nil {
		return nil, err
	}
	return subnetItem(n).body, nil
}

// newSubnet reads the request for a subnet, and fills in what Neutron would: the first address is the gateway, and all
// others are for guests.
func newSubnet(v *cluster.View, c *rest.Caller, a attributes) (cluster.Subnet, error) {
	n := cluster.Subnet{ID: cluster.SubnetID(rest.NewUUID()), DHCP: true}
	var err error
	if n.Project, err = a.owner(c, "subnet"); err != nil {
		return n, err
	}
	id, err := a.network()
	if err != nil {
		return n, err
	}
	network, err := findNetwork(v, c, id)
	if err != nil {
		return n, err
	}
	if !c.Sees(network.Project) {
		return n, denied("create_subnet")
	}
	n.Network = network.ID
	var cidr string
	version := 0
	if err := a.text("cidr", &cidr, maxName); err != nil {
		return n, err
	}
	if err := read(a, "ip_version", &version); err != nil {
		return n, err
	}
	prefix, err := parseCIDR(cidr, version)
	if err != nil {
		return n, err
	}
	n.CIDR = prefix.String()
	if err := checkOverlap(v, &n); err != nil {
		return n, err
	}
	if !a.has("gateway_ip") && roomy(prefix) {
		n.Gateway = prefix.Addr().Next().String()
	}
	if err := applySubnet(a, &n); err != nil {
		return n, err
	}
	if len(n.Pools) == 0 {
		n.Pools = defaultPools(prefix, n.Gateway)
	}
	return n, nil
}

// applySubnet reads the attributes of a request that may change later, too.
func applySubnet(a attributes, n *cluster.Subnet) error {
	for _, key := range unsupportedSubnet {
		if a.has(key) && !a.null(key) {
			return invalid("%s is not supported", key)
		}
	}
	if a.has("service_types") {
		var types []string
		if err := read(a, "service_types", &types); err != nil {
			return err
		}
		if len(types) > 0 {
			return invalid("service_types are not supported")
		}
	}
	for _, err := range []error{
		a.text("name", &n.Name, maxName), a.text("description", &n.Description, maxDescription), a.boolean("enable_dhcp", &n.DHCP),
		a.text("gateway_ip", &n.Gateway, maxName), read(a, "allocation_pools", &n.Pools),
		read(a, "dns_nameservers", &n.DNS), read(a, "host_routes", &n.Routes),
	} {
		if err != nil {
			return err
		}
	}
	return canonicalSubnet(n)
}

func (s *server) updateSubnet(r *http.Request) (any, error) {
	_, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	a, err := single(r, "subnet", subnetAttributes)
	if err != nil {
		return nil, err
	}
	if err := a.readOnly("cidr", "network_id", "ip_version", "tenant_id", "project_id"); err != nil {
		return nil, err
	}
	return s.changeSubnet(r, c, func(n *cluster.Subnet) error { return applySubnet(a, n) })
}

func (s *server) changeSubnet(r *http.Request, c *rest.Caller, change func(*cluster.Subnet) error) (any, error) {
	res, err := rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		n, err := ownSubnet(v, c, chi.URLParam(r, "id"))
		if err != nil {
			return nil, err
		}
		next := n.Clone()
		if err := change(next); err != nil {
			return nil, err
		}
		return &cluster.PutSubnet{Subnet: *next}, nil
	})
	if err != nil {
		return nil, subnetRefusal(err)
	}
	body, err := s.subnetNow(r, c, res.IDs[0])
	return map[string]any{"subnet": body}, err
}

// ownSubnet is to subnets what ownNetwork is to networks.
func ownSubnet(v *cluster.View, c *rest.Caller, id string) (*cluster.Subnet, error) {
	n, err := findSubnet(v, c, id)
	if err == nil && !c.Sees(n.Project) {
		err = missing("Subnet", id)
	}
	return n, err
}

func (s *server) deleteSubnet(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	n, err := ownSubnet(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	_, err = rest.Change(r, s.Backend, &cluster.DeleteSubnet{ID: n.ID})
	return nil, typed(err, subnetErrors)
}
