package compute

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// alikeDiagnostics is the microversion from which diagnostics look alike whatever the hypervisor is.
const alikeDiagnostics = 48

// powerWords are Nova's names of power states.
var powerWords = map[cluster.PowerState]string{
	cluster.PowerNoState: "pending", cluster.PowerRunning: "running", cluster.PowerPaused: "paused",
	cluster.PowerShutdown: "shutdown", cluster.PowerCrashed: "crashed", cluster.PowerSuspended: "suspended",
}

func (c *call) showDiagnostics() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	switch {
	case c.Inside == nil:
		return unsupported("diagnostics of servers")
	case in.Node == "":
		return conflict("Instance %s is not ready", in.ID)
	case in.Status.Power != cluster.PowerRunning:
		return conflict("Cannot 'get_diagnostics' instance %s while it is in power state %s", in.ID, powerWords[in.Status.Power])
	}
	d, err := c.Inside.Diagnostics(c.r.Context(), in)
	if err != nil {
		return err
	}
	var j writer
	if c.v < alikeDiagnostics {
		c.writeRawDiagnostics(&j, in, &d)
	} else {
		c.writeDiagnostics(&j, in, &d)
	}
	return c.send(http.StatusOK, &j)
}

// writeRawDiagnostics writes them as Nova's libvirt driver does: one flat object, whose names hold those of the devices.
func (c *call) writeRawDiagnostics(j *writer, in *cluster.Instance, d *cluster.Diagnostics) {
	j.open('{')
	for i, t := range d.CPUs {
		j.fieldNum("cpu"+strconv.Itoa(i)+"_time", int64(t))
	}
	for i, k := range d.Disks {
		name := diskName(i)
		j.fieldNum(name+"_read_req", k.ReadRequests).fieldNum(name+"_read", k.ReadBytes)
		j.fieldNum(name+"_write_req", k.WriteRequests).fieldNum(name+"_write", k.WriteBytes).fieldNum(name+"_errors", k.Errors)
	}
	for _, n := range d.NICs {
		name := c.tapName(in, n.MAC)
		j.fieldNum(name+"_rx", n.RxOctets).fieldNum(name+"_rx_packets", n.RxPackets)
		j.fieldNum(name+"_rx_errors", n.RxErrors).fieldNum(name+"_rx_drop", n.RxDrops)
		j.fieldNum(name+"_tx", n.TxOctets).fieldNum(name+"_tx_packets", n.TxPackets)
		j.fieldNum(name+"_tx_errors", n.TxErrors).fieldNum(name+"_tx_drop", n.TxDrops)
	}
	const kib = 1 << 10 // of a MiB
	j.fieldNum("memory", d.MemoryMaxMiB*kib).fieldNum("memory-actual", d.MemoryMaxMiB*kib).fieldNum("memory-rss", d.MemoryUsedMiB*kib)
	j.close('}')
}

// diskName is the name of a guest's disk by its place: vda, vdb, ...
func diskName(i int) string {
	const letters = 26
	name := string(rune('a' + i%letters))
	for i = i/letters - 1; i >= 0; i = i/letters - 1 {
		name = string(rune('a'+i%letters)) + name
	}
	return "vd" + name
}

// tapName is the name that Nova gives to the host's end of a card's cable; one that is no port's has its MAC.
func (c *call) tapName(in *cluster.Instance, mac string) string {
	const shown = 11 // characters of the port's ID
	for _, id := range in.Ports {
		if p, ok := c.view.Port(id); ok && strings.EqualFold(p.MAC, mac) {
			return "tap" + string(id[:min(len(id), shown)])
		}
	}
	return "tap-" + mac
}

// writeDiagnostics writes them as every driver of Nova's does.
func (c *call) writeDiagnostics(j *writer, in *cluster.Instance, d *cluster.Diagnostics) {
	hypervisor := "qemu"
	if n, ok := c.view.Node(in.Node); ok && n.Host.KVM {
		hypervisor = "kvm"
	}
	j.open('{').field("state", d.State).field("driver", "libvirt").field("hypervisor", hypervisor).field("hypervisor_os", "linux")
	j.fieldNum("uptime", int64(d.Uptime/time.Second)).fieldTruth("config_drive", true)
	j.fieldNum("num_cpus", int64(len(d.CPUs))).fieldNum("num_nics", int64(len(d.NICs))).fieldNum("num_disks", int64(len(d.Disks)))
	j.key("disk_details").open('[')
	for _, k := range d.Disks {
		j.open('{').fieldNum("read_bytes", k.ReadBytes).fieldNum("read_requests", k.ReadRequests)
		j.fieldNum("write_bytes", k.WriteBytes).fieldNum("write_requests", k.WriteRequests).fieldNum("errors_count", k.Errors).close('}')
	}
	j.close(']').key("cpu_details").open('[')
	for i, t := range d.CPUs {
		j.open('{').fieldNum("id", int64(i)).fieldNum("time", int64(t)).key("utilisation").null().close('}')
	}
	j.close(']').key("nic_details").open('[')
	for _, n := range d.NICs {
		j.open('{').field("mac_address", n.MAC)
		j.fieldNum("rx_octets", n.RxOctets).fieldNum("rx_errors", n.RxErrors).fieldNum("rx_drop", n.RxDrops).fieldNum("rx_packets", n.RxPackets)
		j.key("rx_rate").null()
		j.fieldNum("tx_octets", n.TxOctets).fieldNum("tx_errors", n.TxErrors).fieldNum("tx_drop", n.TxDrops).fieldNum("tx_packets", n.TxPackets)
		j.key("tx_rate").null().close('}')
	}
	j.close(']').key("memory_details").open('{').fieldNum("maximum", d.MemoryMaxMiB).fieldNum("used", d.MemoryUsedMiB).close('}').close('}')
}
