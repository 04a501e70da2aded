package compute

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/kilonova/kilonova/cluster"
)

// renderer writes servers. It remembers what many servers of a listing share, so each costs little. It belongs to one
// call.
type renderer struct {
	c     *call
	admin bool
	nodes map[cluster.NodeID]*nodeFacts
	names map[cluster.NetworkID]string
	ids   map[hostKey]string
}

type hostKey struct {
	project cluster.ProjectID
	node    cluster.NodeID
}

// nodeFacts is what servers show of their node.
type nodeFacts struct {
	name, zone, status string
}

// extent is how much of a server is written.
type extent struct {
	list    bool          // one of a listing
	summary bool          // the short form that PUT had before 2.75
	rebuilt bool          // the answer to a rebuild, which tells the user data under another name
	more    func(*writer) // writes what else belongs to it; nil: nothing
}

func (c *call) newRenderer() *renderer {
	return &renderer{c: c, admin: c.caller.Admin(), nodes: map[cluster.NodeID]*nodeFacts{}, names: map[cluster.NetworkID]string{},
		ids: map[hostKey]string{}}
}

// brief writes ID, name and links.
func (p *renderer) brief(j *writer, in *cluster.Instance) {
	j.open('{').field("id", string(in.ID)).field("name", in.Spec.Name)
	p.links(j, in)
	j.close('}')
}

func (p *renderer) links(j *writer, in *cluster.Instance) {
	j.key("links").open('[')
	writeLink(j, "self", p.c.links.self+"/servers/"+string(in.ID))
	writeLink(j, "bookmark", p.c.links.bookmark+"/servers/"+string(in.ID))
	j.close(']')
}

// server writes a server as the call's microversion has it.
func (p *renderer) server(j *writer, in *cluster.Instance, e extent) {
	status := statusOf(in)
	j.open('{').field("id", string(in.ID)).field("name", in.Spec.Name).field("status", status)
	j.field("tenant_id", string(in.Project)).field("user_id", string(in.User)).key("metadata").texts(in.Spec.Metadata)
	j.field("hostId", p.hostID(in.Project, in.Node))
	p.image(j, in)
	p.flavor(j, &in.Spec.Flavor)
	j.key("created").seconds(in.Times.Created).key("updated").seconds(in.Times.Updated)
	j.key("addresses")
	p.addresses(j, in, !e.summary)
	j.field("accessIPv4", in.Spec.Access[0]).field("accessIPv6", in.Spec.Access[1])
	p.links(j, in)
	j.field("OS-DCF:diskConfig", diskConfig(in))
	p.fault(j, in)
	if progresses(status) {
		j.fieldNum("progress", int64(in.Status.Progress))
	}
	if !e.summary {
		p.extended(j, in, e)
	}
	p.versioned(j, in, e)
	if e.more != nil {
		e.more(j)
	}
	j.close('}')
}

func diskConfig(in *cluster.Instance) string {
	if in.Spec.DiskConfig == "" {
		return "MANUAL"
	}
	return in.Spec.DiskConfig
}

func (p *renderer) image(j *writer, in *cluster.Instance) {
	if in.Spec.Image == "" {
		j.field("image", "")
		return
	}
	j.key("image").open('{').field("id", string(in.Spec.Image)).key("links").open('[')
	writeLink(j, "bookmark", p.c.links.bookmark+"/images/"+string(in.Spec.Image))
	j.close(']').close('}')
}

func (p *renderer) flavor(j *writer, f *cluster.Flavor) {
	j.key("flavor").open('{')
	if p.c.v < 47 {
		j.field("id", string(f.ID)).key("links").open('[')
		writeLink(j, "bookmark", p.c.links.bookmark+"/flavors/"+escape(string(f.ID)))
		j.close(']').close('}')
		return
	}
	j.fieldNum("vcpus", f.VCPUs).fieldNum("ram", f.MemoryMiB).fieldNum("disk", f.DiskGiB).fieldNum("ephemeral", f.Ephemeral)
	j.fieldNum("swap", f.SwapMiB).field("original_name", f.Name).key("extra_specs").texts(f.ExtraSpecs).close('}')
}

func (p *renderer) fault(j *writer, in *cluster.Instance) {
	f := in.Status.Fault
	if f == nil || in.Status.VM != cluster.VMError && !in.Deleted {
		return
	}
	j.key("fault").open('{').fieldNum("code", int64(f.Code)).key("created").seconds(f.Created).field("message", f.Message)
	if f.Details != "" && (p.admin || f.Code != 500) {
		j.field("details", f.Details)
	}
	j.close('}')
}

// extended writes what Nova's extensions added before there were microversions, and what 2.3 added for administrators.
func (p *renderer) extended(j *writer, in *cluster.Instance, e extent) {
	node := p.node(in.Node)
	zone := node.zone
	if zone == "" {
		zone = in.Spec.Scheduling.Zone
	}
	j.field("OS-EXT-AZ:availability_zone", zone)
	drive := ""
	if in.Spec.Boot.ConfigDrv {
		drive = "True"
	}
	j.field("config_drive", drive).fieldOrNull("key_name", in.Spec.KeyName)
	j.key("OS-SRV-USG:launched_at").micros(in.Times.Launched).key("OS-SRV-USG:terminated_at").micros(in.Times.Terminated)
	if p.filtered(in) {
		j.key("security_groups").open('[').open('{').field("name", "default").close('}').close(']')
	}
	if p.admin {
		j.fieldOrNull("OS-EXT-SRV-ATTR:host", node.name).field("OS-EXT-SRV-ATTR:instance_name", instanceName(in))
		j.fieldOrNull("OS-EXT-SRV-ATTR:hypervisor_hostname", node.name)
		if p.c.v >= 3 {
			p.attributes(j, in)
			if !e.rebuilt {
				j.fieldOrNull("OS-EXT-SRV-ATTR:user_data", encodeBase64(in.Spec.UserData))
			}
		}
	}
	j.fieldOrNull("OS-EXT-STS:task_state", string(in.Status.Task)).field("OS-EXT-STS:vm_state", string(vmStateOf(in)))
	j.fieldNum("OS-EXT-STS:power_state", int64(powerOf(in)))
	p.writeVolumes(j, in)
}

// instanceName is what hypervisors call the instance.
func instanceName(in *cluster.Instance) string { return fmt.Sprintf("instance-%08x", in.Number) }

func (p *renderer) attributes(j *writer, in *cluster.Instance) {
	j.field("OS-EXT-SRV-ATTR:reservation_id", in.Spec.Reservation).fieldNum("OS-EXT-SRV-ATTR:launch_index", int64(in.LaunchIndex))
	j.field("OS-EXT-SRV-ATTR:hostname", in.Spec.Hostname)
	j.field("OS-EXT-SRV-ATTR:kernel_id", string(in.Spec.Boot.Kernel)).field("OS-EXT-SRV-ATTR:ramdisk_id", string(in.Spec.Boot.Ramdisk))
	j.fieldOrNull("OS-EXT-SRV-ATTR:root_device_name", rootDevice(in))
}

// rootDevice is what the guest calls its root disk; "" before it has one.
func rootDevice(in *cluster.Instance) string {
	if in.Node == "" {
		return ""
	}
	switch in.Spec.Boot.Properties["hw_disk_bus"] {
	case "scsi", "sata", "usb":
		return "/dev/sda"
	case "ide":
		return "/dev/hda"
	}
	return "/dev/vda"
}

// versioned writes what microversions added.
func (p *renderer) versioned(j *writer, in *cluster.Instance, e extent) {
	v := p.c.v
	if p.admin && v >= 16 && (!e.summary || v >= 75) {
		j.field("host_status", p.node(in.Node).status)
	}
	if v >= 9 {
		j.fieldTruth("locked", in.Spec.Locked != "")
	}
	if v >= 73 {
		j.fieldOrNull("locked_reason", in.Spec.LockReason)
	}
	if v >= 19 {
		j.fieldOrNull("description", in.Spec.Description)
	}
	if v >= 26 {
		j.key("tags").strings(in.Spec.Tags)
	}
	if v >= 63 {
		j.key("trusted_image_certificates").null()
	}
	if !p.admin && v >= 90 && !e.summary {
		j.field("OS-EXT-SRV-ATTR:hostname", in.Spec.Hostname)
	}
	if v >= 71 && !e.list {
		j.key("server_groups").open('[')
		if g, ok := p.c.view.GroupOf(in); ok {
			j.str(string(g.ID))
		}
		j.close(']')
	}
	if v >= 96 {
		j.fieldOrNull("pinned_availability_zone", in.Spec.Scheduling.Zone)
	}
}

// node looks up what servers show of a node. Of none, and of one that was removed, it shows nothing.
func (p *renderer) node(id cluster.NodeID) *nodeFacts {
	if f, ok := p.nodes[id]; ok {
		return f
	}
	f := &nodeFacts{}
	if n, ok := p.c.view.Node(id); ok {
		f.name, f.zone, f.status = n.Name, p.c.view.ZoneOf(n), "UP"
		switch up, _ := p.c.up(n); {
		case n.Service.ForcedDown:
			f.status = "DOWN"
		case !up:
			f.status = "UNKNOWN"
		case n.Service.Disabled || n.Service.Draining:
			f.status = "MAINTENANCE"
		}
	}
	p.nodes[id] = f
	return f
}

// hostID tells servers of a project on the same node from others without naming the node.
func (p *renderer) hostID(project cluster.ProjectID, node cluster.NodeID) string {
	name := p.node(node).name
	if name == "" {
		return ""
	}
	k := hostKey{project, node}
	id, ok := p.ids[k]
	if !ok {
		sum := sha256.Sum224([]byte(string(project) + name))
		id = hex.EncodeToString(sum[:])
		p.ids[k] = id
	}
	return id
}

// filtered tells whether a port of the server is filtered, as the default security group says.
func (p *renderer) filtered(in *cluster.Instance) bool {
	for _, id := range in.Ports {
		if port, ok := p.c.view.Port(id); ok && port.PortSecurity {
			return true
		}
	}
	return false
}
