package network

import (
	"net/http"
	"net/netip"

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
	r.Put("/subnets/{id}/tags", handle(http.StatusOK, s.tagSubnet))
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

func ipVersion(cidr string) int {
	if p, err := netip.ParsePrefix(cidr); err == nil && p.Addr().Is6() {
		return 6
	}
	return 4
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
	return item{id: string(n.ID), body: b, values: map[string][]string{
		"id": one(string(n.ID)), "name": one(n.Name), "tenant_id": one(string(n.Project)), "project_id": one(string(n.Project)),
		"network_id": one(string(n.Network)), "ip_version": one(version), "cidr": one(n.CIDR), "gateway_ip": one(n.Gateway),
		"enable_dhcp": flag(n.DHCP), "description": one(n.Description), "tags": n.Tags,
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
	var news []cluster.Subnet
	for _, a := range all {
		n, err := newSubnet(v, c, a)
		if err != nil {
			return nil, err
		}
		news = append(news, n)
	}
	var bodies []any
	for _, n := range news {
		res, err := rest.Change(r, s.Backend, &cluster.PutSubnet{Subnet: n})
		if err != nil {
			return nil, typed(err, map[cluster.Code]string{cluster.Conflict: "InvalidInput", cluster.Invalid: "InvalidInput"})
		}
		body, err := s.subnetNow(r, c, res)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return made("subnet", bodies, many), nil
}

func (s *server) subnetNow(r *http.Request, c *rest.Caller, res cluster.Result) (any, error) {
	v, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	n, err := findSubnet(v, c, res.IDs[0])
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
	var network string
	if err := a.text("network_id", &network, maxName); err != nil {
		return n, err
	}
	if _, err := ownNetwork(v, c, network, "create_subnet"); err != nil {
		return n, err
	}
	n.Network = cluster.NetworkID(network)
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

// parseCIDR reads a range. Bits beyond the prefix are dropped, as Neutron does.
func parseCIDR(cidr string, version int) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(cidr)
	switch {
	case cidr == "":
		return p, cluster.Errorf(cluster.Invalid, "Bad subnets request: a subnetpool must be specified in the absence of a cidr.")
	case err != nil || p.Addr().Is4In6():
		return p, cluster.Errorf(cluster.Invalid, "Invalid input for cidr. Reason: '%s' is not a valid IP subnet.", clip(cidr))
	case version != 0 && version != ipVersion(p.String()):
		return p, invalid("cidr '%s' does not match the ip_version '%d'", cidr, version)
	}
	return p.Masked(), nil
}

// roomy tells whether a range has an address for a gateway beside others.
func roomy(p netip.Prefix) bool { return p.Addr().BitLen()-p.Bits() >= 2 }

// defaultPools are all the addresses of a range but the gateway's, and for IPv4 the network's and the broadcast one.
func defaultPools(p netip.Prefix, gateway string) []cluster.AddressPool {
	first, last := p.Addr(), lastOf(p)
	if roomy(p) {
		first = first.Next()
		if p.Addr().Is4() {
			last = last.Prev()
		}
	}
	gw, err := netip.ParseAddr(gateway)
	if err != nil || gw.Less(first) || last.Less(gw) {
		return pool(nil, first, last)
	}
	return pool(pool(nil, first, gw.Prev()), gw.Next(), last)
}

func pool(pools []cluster.AddressPool, first, last netip.Addr) []cluster.AddressPool {
	if !first.IsValid() || !last.IsValid() || last.Less(first) {
		return pools
	}
	return append(pools, cluster.AddressPool{Start: first.String(), End: last.String()})
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
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

// canonicalSubnet writes every address as the state keeps it.
func canonicalSubnet(n *cluster.Subnet) error {
	addresses := []*string{}
	if n.Gateway != "" {
		addresses = append(addresses, &n.Gateway)
	}
	for i := range n.Pools {
		addresses = append(addresses, &n.Pools[i].Start, &n.Pools[i].End)
	}
	for i := range n.DNS {
		addresses = append(addresses, &n.DNS[i])
	}
	for i := range n.Routes {
		p, err := netip.ParsePrefix(n.Routes[i].Destination)
		if err != nil {
			return cluster.Errorf(cluster.Invalid, "Invalid input for host_routes. Reason: '%s' is not a valid IP subnet.", clip(n.Routes[i].Destination))
		}
		n.Routes[i].Destination = p.Masked().String()
		addresses = append(addresses, &n.Routes[i].NextHop)
	}
	for _, a := range addresses {
		parsed, err := netip.ParseAddr(*a)
		if err != nil {
			return cluster.Errorf(cluster.Invalid, "'%s' is not a valid IP address.", clip(*a))
		}
		*a = parsed.String()
	}
	return nil
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
	for _, key := range []string{"cidr", "network_id", "ip_version", "tenant_id", "project_id"} {
		if a.has(key) {
			return nil, cluster.Errorf(cluster.Invalid, "Cannot update read-only attribute %s", key)
		}
	}
	return s.changeSubnet(r, c, func(n *cluster.Subnet) error { return applySubnet(a, n) })
}

func (s *server) changeSubnet(r *http.Request, c *rest.Caller, change func(*cluster.Subnet) error) (any, error) {
	res, err := rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		n, err := ownSubnet(v, c, chi.URLParam(r, "id"), "update_subnet")
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
		return nil, typed(err, map[cluster.Code]string{cluster.Conflict: "InvalidInput", cluster.Invalid: "InvalidInput"})
	}
	body, err := s.subnetNow(r, c, res)
	return map[string]any{"subnet": body}, err
}

func ownSubnet(v *cluster.View, c *rest.Caller, id, rule string) (*cluster.Subnet, error) {
	n, err := findSubnet(v, c, id)
	if err == nil && !c.Sees(n.Project) {
		err = denied(rule)
	}
	return n, err
}

func (s *server) deleteSubnet(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	n, err := ownSubnet(v, c, chi.URLParam(r, "id"), "delete_subnet")
	if err != nil {
		return nil, err
	}
	_, err = rest.Change(r, s.Backend, &cluster.DeleteSubnet{ID: n.ID})
	return nil, typed(err, subnetErrors)
}

func (s *server) tagSubnet(r *http.Request) (any, error) {
	_, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	body, err := rest.DecodeStrict[tagsBody](r)
	if err != nil {
		return nil, err
	}
	_, err = s.changeSubnet(r, c, func(n *cluster.Subnet) error { n.Tags = body.Tags; return nil })
	return body, err
}
