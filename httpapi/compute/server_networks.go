package compute

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// nic is a network card that a new server gets: an existing port, or one to be made on a network.
type nic struct {
	existing cluster.PortID
	network  *cluster.Network
	fixed    []cluster.FixedIP
}

// chooseNetworks decides what the server is connected to.
func (o *order) chooseNetworks() error {
	var word string
	var list []nicRequest
	raw := o.want.Networks
	switch {
	case len(raw) == 0 || string(raw) == "null":
		word = "any"
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &word); err != nil {
			return bad("Malformed request body")
		}
	default:
		if err := json.Unmarshal(raw, &list); err != nil {
			return bad("Malformed request body")
		}
		if len(list) == 0 {
			word = "any"
		}
	}
	switch word {
	case "none":
		return nil
	case "any", "auto":
		return o.onlyNetwork(word == "auto")
	}
	ports := map[string]bool{}
	for _, n := range list {
		if n.Port != "" && ports[n.Port] {
			return bad("Port %s is given twice.", n.Port)
		}
		ports[n.Port] = true
		if err := o.addNIC(n); err != nil {
			return err
		}
	}
	return nil
}

// onlyNetwork connects to the one network that the project can use. Several are ambiguous. None is fine, unless one was
// asked for.
func (o *order) onlyNetwork(must bool) error {
	var only *cluster.Network
	for n := range o.view.Networks() {
		usable := (n.Project == o.caller.ProjectID() || n.Shared) && (!n.External || n.Shared || o.caller.Admin())
		if !usable || must && !o.hasSubnet(n) {
			continue
		}
		if only != nil {
			return conflict("Multiple possible networks found, use a Network ID to be more specific.")
		}
		only = n
	}
	switch {
	case only != nil:
		return o.connect(only, "")
	case must:
		return bad("Unable to automatically allocate a network for project %s", o.caller.ProjectID())
	}
	return nil
}

func (o *order) hasSubnet(n *cluster.Network) bool {
	for range o.view.SubnetsOf(n.ID) {
		return true
	}
	return false
}

// addNIC adds one of the networks or ports that the client named.
func (o *order) addNIC(n nicRequest) error {
	switch {
	case n.Port != "" && n.FixedIP != "":
		return bad("Specified Fixed IP '%s' cannot be used with port '%s': the two cannot be specified together.", n.FixedIP, n.Port)
	case n.Port != "":
		return o.usePort(n.Port)
	case n.Network == "":
		return bad("Bad networks format: network uuid is not in proper format (None)")
	}
	id, _ := rest.CanonicalUUID(n.Network)
	network, ok := o.view.Network(cluster.NetworkID(id))
	if !ok || !network.Shared && !o.caller.Sees(network.Project) {
		return bad("Network %s could not be found.", n.Network)
	}
	if network.External && !network.Shared && !o.caller.Admin() {
		return cluster.Errorf(cluster.Forbidden, "It is not allowed to create an interface on external network %s", id)
	}
	return o.connect(network, n.FixedIP)
}

func (o *order) usePort(ref string) error {
	id, _ := rest.CanonicalUUID(ref)
	p, ok := o.view.Port(cluster.PortID(id))
	if !ok || !o.caller.Sees(p.Project) {
		return bad("Port id %s could not be found.", ref)
	}
	if p.Device != "" && o.first() {
		return conflict("Port %s is still in use.", id)
	}
	o.nics = append(o.nics, nic{existing: p.ID})
	return nil
}

// connect adds a port on a network, with a fixed address when one is given.
func (o *order) connect(n *cluster.Network, address string) error {
	if !o.hasSubnet(n) {
		return bad("Network %s requires a subnet in order to boot instances on.", n.ID)
	}
	card := nic{network: n}
	if address != "" {
		subnet, a, ok := o.subnetFor(n, address)
		if !ok {
			return bad("Fixed IP address %s is not a valid ip address for network %s.", address, n.ID)
		}
		if _, taken := o.view.AddressTaken(subnet, a); taken && o.first() {
			return bad("Fixed IP address %s is already in use on network %s.", a, n.ID)
		}
		card.fixed = []cluster.FixedIP{{Subnet: subnet, Address: a}}
	}
	o.nics = append(o.nics, card)
	return nil
}

// subnetFor finds the subnet that an address belongs to, and the address's canonical form.
func (o *order) subnetFor(n *cluster.Network, address string) (cluster.SubnetID, string, bool) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "", "", false
	}
	for s := range o.view.SubnetsOf(n.ID) {
		if prefix, err := netip.ParsePrefix(s.CIDR); err == nil && prefix.Contains(a) {
			return s.ID, a.String(), true
		}
	}
	return "", "", false
}

// refuseShared refuses what several servers cannot have each.
func (o *order) refuseShared() error {
	for _, n := range o.nics {
		switch {
		case n.existing != "":
			return bad("Unable to launch multiple instances with a single configured port ID. Please launch your instance one by one with " +
				"different ports.")
		case len(n.fixed) > 0:
			return bad("max_count cannot be greater than 1 if an fixed_ip is specified.")
		}
	}
	return nil
}

// port makes what a command says of a network card.
func (o *order) port(n nic) cluster.NewPort {
	if n.existing != "" {
		return cluster.NewPort{Existing: n.existing}
	}
	return cluster.NewPort{New: &cluster.Port{ID: cluster.PortID(rest.NewUUID()), Project: o.caller.ProjectID(), Network: n.network.ID,
		MAC: randomMAC(), FixedIPs: n.fixed, PortSecurity: n.network.PortSecurity, AutoDelete: true, Created: cluster.At(o.Now())}}
}

// randomMAC draws a MAC address. Its first byte marks it as locally administered and unicast; five random bytes make two
// alike unlikely, and Apply refuses them.
func randomMAC() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	return fmt.Sprintf("fa:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4])
}
