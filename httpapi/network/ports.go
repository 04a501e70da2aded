package network

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

var portAttributes = []string{
	"name", "description", "network_id", "admin_state_up", "mac_address", "fixed_ips", "device_id", "device_owner", "port_security_enabled",
	"security_groups", "tenant_id", "project_id", "binding:host_id", "binding:vnic_type", "binding:profile", "allowed_address_pairs",
	"extra_dhcp_opts", "tags",
}

var portErrors = map[cluster.Code]string{
	cluster.Conflict: "IpAddressInUse", cluster.NoRoom: "IpAddressGenerationFailure", cluster.Invalid: "InvalidIpForSubnet",
}

// macConflict stands in the refusal of a MAC address that is in use, which has the code of any conflict.
const macConflict = "The mac address"

// portRefusal gives a refusal the name that Neutron has for it.
func portRefusal(err error) error {
	if cluster.CodeOf(err) == cluster.Conflict && strings.Contains(err.Error(), macConflict) {
		return typed(err, map[cluster.Code]string{cluster.Conflict: "MacAddressInUse"})
	}
	return typed(err, portErrors)
}

func (s *server) portRoutes(r chi.Router) {
	r.Get("/ports", handle(http.StatusOK, s.listPorts))
	r.Post("/ports", handle(http.StatusCreated, s.createPorts))
	r.Get("/ports/{id}", handle(http.StatusOK, s.showPort))
	r.Put("/ports/{id}", handle(http.StatusOK, s.updatePort))
	r.Delete("/ports/{id}", handle(http.StatusNoContent, s.deletePort))
	s.tagRoutes(r, "/ports", func(r *http.Request, c *rest.Caller) ([]string, error) {
		v, err := rest.View(r, s.Backend)
		if err != nil {
			return nil, err
		}
		p, err := findPort(v, c, chi.URLParam(r, "id"))
		if err != nil {
			return nil, err
		}
		return p.Tags, nil
	}, func(r *http.Request, c *rest.Caller, change func([]string) []string) error {
		_, err := s.changePort(r, c, func(_ *cluster.View, p *cluster.Port) error { p.Tags = change(p.Tags); return nil })
		return err
	})
}

// findPort finds a port of the caller's project, or on one of its networks.
func findPort(v *cluster.View, c *rest.Caller, id string) (*cluster.Port, error) {
	p, ok := v.Port(cluster.PortID(id))
	if !ok || !seesPort(v, c, p) {
		return nil, missing("Port", id)
	}
	return p, nil
}

func seesPort(v *cluster.View, c *rest.Caller, p *cluster.Port) bool {
	n, ok := v.Network(p.Network)
	return c.Sees(p.Project) || ok && c.Sees(n.Project)
}

func (s *server) listPorts(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	ports := v.Ports()
	switch q := r.URL.Query(); { // the two questions that Nova's clients ask of large clouds
	case len(q["device_id"]) == 1:
		ports = v.PortsOfDevice(q.Get("device_id"))
	case len(q["network_id"]) == 1:
		ports = v.PortsOf(cluster.NetworkID(q.Get("network_id")))
	}
	var items []item
	for p := range ports {
		if seesPort(v, c, p) {
			items = append(items, portItem(v, p, c))
		}
	}
	return list(r, "ports", items)
}

func (s *server) showPort(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	p, err := findPort(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	return show(r, "port", portItem(v, p, c))
}

func (s *server) createPorts(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	all, many, err := objects(r, "port", portAttributes)
	if err != nil {
		return nil, err
	}
	var puts []cluster.Op
	for _, a := range all {
		p, err := newPort(v, c, a)
		if err != nil {
			return nil, err
		}
		puts = append(puts, &cluster.PutPort{Port: p, Bare: a.has("fixed_ips") && len(p.FixedIPs) == 0 && !a.null("fixed_ips")})
	}
	return s.create(r, creation{
		name: "port", many: many, puts: puts,
		undo: func(id string) cluster.Op { return &cluster.DeletePort{ID: cluster.PortID(id)} },
		show: func(id string) (any, error) { return s.portNow(r, c, id) },
		fail: portRefusal,
	})
}

func (s *server) portNow(r *http.Request, c *rest.Caller, id string) (any, error) {
	v, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	p, err := findPort(v, c, id)
	if err != nil {
		return nil, err
	}
	return portItem(v, p, c).body, nil
}

func newPort(v *cluster.View, c *rest.Caller, a attributes) (cluster.Port, error) {
	p := cluster.Port{ID: cluster.PortID(rest.NewUUID())}
	var err error
	if p.Project, err = a.owner(c, "port"); err != nil {
		return p, err
	}
	id, err := a.network()
	if err != nil {
		return p, err
	}
	n, err := findNetwork(v, c, id)
	if err != nil {
		return p, err
	}
	p.Network, p.PortSecurity, p.MAC = n.ID, n.PortSecurity, NewMAC()
	if err := a.adminOnly(c, "create_port", "mac_address"); err != nil && !c.Sees(n.Project) {
		return p, err
	}
	return p, applyPort(v, c, a, &p, "create_port")
}

// NewMAC draws a MAC address from the locally administered ones that begin with fa: 40 random bits, so that two networks
// never meet with the same.
func NewMAC() string {
	b := make([]byte, 6)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	b[0] = 0xfa
	return net.HardwareAddr(b).String()
}

// applyPort reads the attributes of a request into a port.
func applyPort(v *cluster.View, c *rest.Caller, a attributes, p *cluster.Port, rule string) error {
	if err := a.adminOnly(c, rule, "binding:host_id", "binding:profile"); err != nil {
		return err
	}
	if n, ok := v.Network(p.Network); !ok || !c.Sees(n.Project) {
		if err := onForeignNetwork(a, rule); err != nil {
			return err
		}
	}
	if err := unsupportedPort(a); err != nil {
		return err
	}
	up, mac := !p.Down, p.MAC
	for _, err := range []error{
		a.text("name", &p.Name, maxName), a.text("description", &p.Description, maxDescription), a.boolean("admin_state_up", &up),
		a.boolean("port_security_enabled", &p.PortSecurity), a.text("device_id", &p.Device, maxName),
		a.text("device_owner", &p.DeviceOwner, maxName), a.text("mac_address", &mac, maxName), read(a, "tags", &p.Tags),
	} {
		if err != nil {
			return err
		}
	}
	p.Down = !up
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || hw[0]&1 == 1 {
		return cluster.Errorf(cluster.Invalid, "Invalid input for mac_address. Reason: '%s' is not a valid MAC address.", clip(mac))
	}
	p.MAC = strings.ToLower(hw.String())
	return applyFixedIPs(v, a, p)
}

// networkDevice begins the device_owner of ports that belong to the network itself: routers, DHCP servers.
const networkDevice = "network:"

// onForeignNetwork refuses what only the owner of a network may choose for a port on it: its addresses, to go unfiltered, and
// to pass for a part of the network. The subnet may be chosen by anybody.
func onForeignNetwork(a attributes, rule string) error {
	owner := ""
	if err := a.text("device_owner", &owner, maxName); err != nil {
		return err
	}
	if strings.HasPrefix(owner, networkDevice) {
		return deniedAttribute(rule, "device_owner")
	}
	if a.has("port_security_enabled") && !a.null("port_security_enabled") {
		return deniedAttribute(rule, "port_security_enabled")
	}
	var asked []fixedIPBody
	if err := read(a, "fixed_ips", &asked); err != nil {
		return err
	}
	for _, ip := range asked {
		if ip.Address != "" {
			return deniedAttribute(rule, "fixed_ips:ip_address")
		}
	}
	return nil
}

// unsupportedPort refuses what would have no effect here.
func unsupportedPort(a attributes) error {
	for _, key := range []string{"allowed_address_pairs", "extra_dhcp_opts", "security_groups"} {
		var list []any
		if err := read(a, key, &list); err != nil {
			return err
		}
		if len(list) > 0 {
			return invalid("%s are not supported", key)
		}
	}
	host := ""
	if err := a.text("binding:host_id", &host, maxName); err != nil {
		return err
	}
	var profile map[string]any
	if err := read(a, "binding:profile", &profile); err != nil {
		return err
	}
	if host != "" || len(profile) > 0 {
		return invalid("a port is where its server is: binding:host_id and binding:profile cannot be set")
	}
	vnic := "normal"
	if err := a.text("binding:vnic_type", &vnic, maxName); err != nil {
		return err
	}
	if vnic != "normal" && vnic != "" {
		return invalid("binding:vnic_type '%s' is not supported", vnic)
	}
	return nil
}

// applyFixedIPs reads the addresses that a request asks for. An address without a subnet finds its own.
func applyFixedIPs(v *cluster.View, a attributes, p *cluster.Port) error {
	if !a.has("fixed_ips") {
		return nil
	}
	var asked []fixedIPBody
	if err := read(a, "fixed_ips", &asked); err != nil {
		return err
	}
	p.FixedIPs = nil
	for _, ip := range asked {
		f := cluster.FixedIP{Subnet: cluster.SubnetID(ip.Subnet)}
		if ip.Address != "" {
			addr, err := netip.ParseAddr(ip.Address)
			if err != nil {
				return cluster.Errorf(cluster.Invalid, "Invalid input for fixed_ips. Reason: '%s' is not a valid IP address.", clip(ip.Address))
			}
			f.Address = addr.String()
			if f.Subnet == "" {
				f.Subnet = subnetWith(v, p.Network, addr)
			}
		}
		sub, ok := v.Subnet(f.Subnet)
		if !ok || sub.Network != p.Network {
			return invalid("Failed to create port on network %s, because fixed_ips included invalid subnet or address %s%s", p.Network, ip.Subnet, ip.Address)
		}
		if !slices.Contains(p.FixedIPs, f) || f.Address == "" {
			p.FixedIPs = append(p.FixedIPs, f)
		}
	}
	return nil
}

func subnetWith(v *cluster.View, id cluster.NetworkID, a netip.Addr) cluster.SubnetID {
	for sub := range v.SubnetsOf(id) {
		if p, err := netip.ParsePrefix(sub.CIDR); err == nil && p.Contains(a) {
			return sub.ID
		}
	}
	return ""
}

func (s *server) updatePort(r *http.Request) (any, error) {
	_, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	a, err := single(r, "port", portAttributes)
	if err != nil {
		return nil, err
	}
	if err := a.readOnly("network_id", "tenant_id", "project_id"); err != nil {
		return nil, err
	}
	if err := a.adminOnly(c, "update_port", "mac_address"); err != nil {
		return nil, err
	}
	return s.changePort(r, c, func(v *cluster.View, p *cluster.Port) error { return applyPort(v, c, a, p, "update_port") })
}

func (s *server) changePort(r *http.Request, c *rest.Caller, change func(*cluster.View, *cluster.Port) error) (any, error) {
	res, err := rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		p, err := findPort(v, c, chi.URLParam(r, "id"))
		if err != nil {
			return nil, err
		}
		if !c.Sees(p.Project) { // the owner of the network sees its ports, and may remove them
			return nil, missing("Port", string(p.ID))
		}
		next := p.Clone()
		if err := change(v, next); err != nil {
			return nil, err
		}
		return &cluster.PutPort{Port: *next}, nil
	})
	if err != nil {
		return nil, portRefusal(err)
	}
	body, err := s.portNow(r, c, res.IDs[0])
	return map[string]any{"port": body}, err
}

func (s *server) deletePort(r *http.Request) (any, error) {
	v, c, err := s.member(r)
	if err != nil {
		return nil, err
	}
	p, err := findPort(v, c, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	_, err = rest.Change(r, s.Backend, &cluster.DeletePort{ID: p.ID})
	return nil, typed(err, map[cluster.Code]string{cluster.Conflict: "PortInUse"})
}
