package compute

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// interfaceTags is the microversion from which a tag may be asked for when a port is attached.
const interfaceTags version = 49

// interfaceBody is POST /servers/{id}/os-interface.
type interfaceBody struct {
	Attachment struct {
		Network string `json:"net_id"`
		Port    string `json:"port_id"`
		Fixed   []struct {
			Address string `json:"ip_address"`
		} `json:"fixed_ips"`
		Tag string `json:"tag"`
	} `json:"interfaceAttachment"`
}

func interfaceSchema(v version) *schema.Schema {
	fixed := schema.Record(map[string]*schema.Schema{"ip_address": schema.Text(0, 0).Formatted(formatIP)}, "ip_address")
	known := map[string]*schema.Schema{"net_id": schemaUUID, "port_id": schemaUUID,
		"fixed_ips": {Types: []string{"array"}, Array: &schema.List{Items: fixed, Min: 1, Max: 1}}}
	if v >= interfaceTags {
		known["tag"] = schemaTag
	}
	return schema.Record(map[string]*schema.Schema{"interfaceAttachment": schema.Record(known)})
}

// canAttach are the states in which a server's network cards come and go.
var canAttach = []cluster.VMState{cluster.VMActive, cluster.VMPaused, cluster.VMStopped}

// attachInterface gives a server another network card: a port that there is, or one that is made on a network.
func (c *call) attachInterface() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	body, err := decode[interfaceBody](c, interfaceSchema(c.v))
	if err != nil {
		return err
	}
	a := &body.Attachment
	switch {
	case a.Network != "" && a.Port != "":
		return bad("Must not input both network_id and port_id")
	case len(a.Fixed) > 0 && a.Network == "":
		return bad("Must input network_id when request IP address")
	case a.Tag != "":
		return bad("Tagged network interface attachment is not supported for this server instance.")
	}
	if err := c.allowedIn(in, "attach_interface", canAttach); err != nil {
		return err
	}
	port, err := c.portToAttach(in, &body)
	if err != nil {
		return err
	}
	res, err := c.change(&cluster.AttachPort{ID: in.ID, By: c.by(), Port: port})
	if err != nil {
		return err
	}
	return c.sendInterface(in.ID, res)
}

// portToAttach finds what the client wants attached.
func (c *call) portToAttach(in *cluster.Instance, body *interfaceBody) (cluster.NewPort, error) {
	o := &order{call: c}
	a := &body.Attachment
	switch {
	case a.Port != "":
		id, _ := rest.CanonicalUUID(a.Port)
		p, ok := c.view.Port(cluster.PortID(id))
		switch {
		case !ok || !c.caller.Sees(p.Project):
			return cluster.NewPort{}, notFound("Port id %s could not be found.", a.Port)
		case p.Device != "" && c.first():
			return cluster.NewPort{}, conflict("Port %s is still in use.", id)
		}
		return cluster.NewPort{Existing: p.ID}, nil
	case a.Network == "":
		if err := o.onlyNetwork(false); err != nil {
			return cluster.NewPort{}, bad("%s", err.Error()) // Nova's word for the same when a server is made is 409
		}
	default:
		id, _ := rest.CanonicalUUID(a.Network)
		n, ok := c.view.Network(cluster.NetworkID(id))
		if !ok || !n.Shared && !c.caller.Sees(n.Project) {
			return cluster.NewPort{}, notFound("Network %s could not be found.", a.Network)
		}
		request := nicRequest{Network: a.Network}
		if len(a.Fixed) > 0 {
			request.FixedIP = a.Fixed[0].Address
		}
		if subnet, address, ok := o.subnetFor(n, request.FixedIP); ok {
			if _, taken := c.view.AddressTaken(subnet, address); taken && c.first() {
				return cluster.NewPort{}, conflict("Fixed IP address %s is already in use on network %s.", address, n.ID)
			}
		}
		if err := o.addNIC(request); err != nil {
			return cluster.NewPort{}, err
		}
	}
	if len(o.nics) == 0 {
		return cluster.NewPort{}, bad("No specific network was requested and none are available for project '%s'.", c.caller.ProjectID())
	}
	np := o.port(o.nics[0])
	np.New.Project = in.Project
	return np, nil
}

// sendInterface shows what was attached.
func (c *call) sendInterface(id cluster.InstanceID, res cluster.Result) error {
	in, ok := c.view.Instance(id)
	if !ok || len(res.IDs) == 0 {
		return noInstance(string(id))
	}
	port, ok := c.view.Port(cluster.PortID(res.IDs[0]))
	if !ok {
		return notFound("Port id %s could not be found.", res.IDs[0])
	}
	var j writer
	j.open('{').key("interfaceAttachment")
	c.writeInterface(&j, in, port)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// detachInterface takes a network card away. A port that was made for the server goes; any other stays, without a server.
func (c *call) detachInterface() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	if err := c.allowedIn(in, "detach_interface", canAttach); err != nil {
		return err
	}
	id := c.param("port")
	if canonical, ok := rest.CanonicalUUID(id); ok {
		id = canonical
	}
	p, ok := c.view.Port(cluster.PortID(id))
	if c.first() && (!ok || p.Device != string(in.ID)) {
		return notFound("Port %s is not attached", id)
	}
	return c.accept(&cluster.DetachPort{ID: in.ID, By: c.by(), Port: cluster.PortID(id)})
}
