package configdrive

import (
	"fmt"
	"net"
	"net/netip"
)

// The objects of network_data.json, whose schema Nova's documentation publishes.
type (
	network struct {
		Links    []link    `json:"links"`
		Networks []subnet  `json:"networks"`
		Services []service `json:"services"`
	}
	link struct {
		ID   string `json:"id"`
		VIF  string `json:"vif_id"`
		Type string `json:"type"`
		MTU  *int   `json:"mtu"` // null when not known
		MAC  string `json:"ethernet_mac_address"`
	}
	subnet struct {
		ID        string    `json:"id"`
		Type      string    `json:"type"`
		Link      string    `json:"link"`
		Address   string    `json:"ip_address,omitempty"`
		Netmask   string    `json:"netmask,omitempty"`
		Routes    []route   `json:"routes"`
		NetworkID string    `json:"network_id"`
		Services  []service `json:"services"`
	}
	route struct {
		Network string `json:"network"`
		Netmask string `json:"netmask"`
		Gateway string `json:"gateway"`
	}
	service struct {
		Type    string `json:"type"`
		Address string `json:"address"`
	}
)

// deviceIDLength is how much of a port's ID its tap device's name can hold (a Linux device name has at most
// 15 characters).
const deviceIDLength = 11

// DeviceName names a port's link, and the tap device that a hypervisor makes for it.
func DeviceName(port string) string { return "tap" + port[:min(len(port), deviceIDLength)] }

func networkData(nics []NIC) (network, error) {
	n := network{Links: []link{}, Networks: []subnet{}, Services: []service{}}
	told := map[string]bool{}
	for _, nic := range nics {
		l := link{ID: DeviceName(nic.PortID), VIF: nic.PortID, Type: "bridge", MAC: nic.MAC}
		if nic.MTU > 0 {
			l.MTU = &nic.MTU
		}
		n.Links = append(n.Links, l)
		for _, a := range nic.Addresses {
			s, err := subnetData(a)
			if err != nil {
				return network{}, fmt.Errorf("port %s: %w", nic.PortID, err)
			}
			s.ID, s.Link, s.NetworkID = fmt.Sprintf("network%d", len(n.Networks)), l.ID, nic.NetworkID
			n.Networks = append(n.Networks, s)
			for _, d := range s.Services {
				if !told[d.Address] {
					told[d.Address] = true
					n.Services = append(n.Services, d)
				}
			}
		}
	}
	return n, nil
}

func subnetData(a Address) (subnet, error) {
	p, err := netip.ParsePrefix(a.Prefix)
	if err != nil {
		return subnet{}, fmt.Errorf("address: %w", err)
	}
	s := subnet{
		Type: "ipv4", Address: p.Addr().String(), Netmask: netmask(p),
		Routes: []route{}, Services: []service{},
	}
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if p.Addr().Is6() {
		s.Type, anywhere = "ipv6", netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if a.Gateway != "" {
		s.Routes = append(s.Routes, route{Network: anywhere.Addr().String(), Netmask: netmask(anywhere), Gateway: a.Gateway})
	}
	for _, r := range a.Routes {
		d, err := netip.ParsePrefix(r.Destination)
		if err != nil {
			return subnet{}, fmt.Errorf("route: %w", err)
		}
		s.Routes = append(s.Routes, route{Network: d.Addr().String(), Netmask: netmask(d), Gateway: r.NextHop})
	}
	for _, d := range a.DNS {
		s.Services = append(s.Services, service{Type: "dns", Address: d})
	}
	return s, nil
}

// netmask writes a prefix length as the format wants it: as an address, for IPv6 too.
func netmask(p netip.Prefix) string {
	mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
	a, _ := netip.AddrFromSlice(mask) // 4 or 16 bytes always fit
	return a.String()
}

func firstIPv4(nics []NIC) string {
	for _, n := range nics {
		for _, a := range n.Addresses {
			if p, err := netip.ParsePrefix(a.Prefix); err == nil && p.Addr().Is4() {
				return p.Addr().String()
			}
		}
	}
	return ""
}
