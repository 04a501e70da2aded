package compute

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// uuidIDs is the microversion from which nodes are known by UUIDs, as services and as hypervisors.
const uuidIDs version = 53

// nodes are all nodes that are hypervisors in the order in which they came.
func (c *call) nodes() []*cluster.Node {
	all := slices.Collect(c.view.Hypervisors())
	slices.SortFunc(all, func(a, b *cluster.Node) int { return cmp.Compare(a.Number, b.Number) })
	return all
}

// writeID writes a node's ID: a small integer before uuidIDs.
func (c *call) writeID(j *writer, n *cluster.Node) {
	j.key("id")
	if c.v >= uuidIDs {
		j.str(string(n.ID))
		return
	}
	j.num(n.Number)
}

// nodeID is what writeID writes.
func (c *call) nodeID(n *cluster.Node) string {
	if c.v >= uuidIDs {
		return string(n.ID)
	}
	return strconv.FormatInt(n.Number, 10)
}

// states are Nova's words for whether a node is alive, and whether it takes servers.
func (c *call) states(n *cluster.Node) (state, status string) {
	state, status = "down", "enabled"
	if up, _ := c.up(n); up {
		state = "up"
	}
	if n.Service.Disabled || n.Service.Draining {
		status = "disabled"
	}
	return state, status
}

// disabledReason is why a node takes no servers.
func disabledReason(n *cluster.Node) string {
	if n.Service.Draining && n.Service.Reason == "" {
		return "draining"
	}
	return n.Service.Reason
}

func (c *call) listHypervisors(detail bool) error {
	all := c.nodes()
	next, servers := "", false
	if c.v >= 33 {
		known := []string{"limit", "marker"}
		if c.v >= uuidIDs {
			known = append(known, "hypervisor_hostname_pattern", "with_servers")
		}
		if err := c.checkQuery(known...); err != nil {
			return err
		}
		page, err := rest.ParsePage(c.r, false)
		if err != nil {
			return err
		}
		if all, servers, err = c.filterHypervisors(all); err != nil {
			return err
		}
		if all, _, err = rest.Cut(all, page, c.nodeID); err != nil {
			return err
		}
		if len(all) > 0 && len(all) == page.Limit {
			next = c.nodeID(all[len(all)-1])
		}
	}
	return c.sendHypervisors(all, detail, servers, next)
}

// filterHypervisors reads the query that came with uuidIDs.
func (c *call) filterHypervisors(all []*cluster.Node) (kept []*cluster.Node, servers bool, err error) {
	q := c.r.URL.Query()
	if c.v < uuidIDs {
		return all, false, nil
	}
	if s := q.Get("with_servers"); q.Has("with_servers") {
		var ok bool
		if servers, ok = schema.Truth(s); !ok {
			return nil, false, bad("Invalid input for query parameters with_servers. Value: %s. '%s' is not a boolean", s, s)
		}
	}
	pattern := q.Get("hypervisor_hostname_pattern")
	if pattern == "" {
		return all, servers, nil
	}
	kept = slices.DeleteFunc(all, func(n *cluster.Node) bool { return !strings.Contains(n.Name, pattern) })
	if len(kept) == 0 && c.v < 88 {
		return nil, false, noHypervisorLike(pattern)
	}
	return kept, servers, nil
}

func noHypervisorLike(pattern string) error {
	return notFound("No hypervisor matching '%s' could be found.", pattern)
}

// searchHypervisors is what filterHypervisors replaced: nodes whose name holds a text, perhaps with their servers.
func (c *call) searchHypervisors(servers bool) error {
	pattern := c.param("hypervisor")
	all := slices.DeleteFunc(c.nodes(), func(n *cluster.Node) bool { return !strings.Contains(n.Name, pattern) })
	if len(all) == 0 {
		return noHypervisorLike(pattern)
	}
	return c.sendHypervisors(all, false, servers, "")
}

func (c *call) sendHypervisors(all []*cluster.Node, detail, servers bool, next string) error {
	var j writer
	j.open('{').key("hypervisors").open('[')
	for _, n := range all {
		c.writeHypervisor(&j, n, detail, servers)
	}
	j.close(']')
	if next != "" {
		c.writeNext(&j, "hypervisors_links", next)
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// hypervisor finds the node that the path names.
func (c *call) hypervisor() (*cluster.Node, error) {
	id := c.param("hypervisor")
	if c.v >= uuidIDs {
		canonical, ok := rest.CanonicalUUID(id)
		if !ok {
			return nil, bad("Invalid uuid %s", id)
		}
		if n, ok := c.view.Node(cluster.NodeID(canonical)); ok && !n.Witness {
			return n, nil
		}
	} else if n, ok := c.numbered(id); ok {
		return n, nil
	}
	return nil, notFound("Hypervisor with ID '%s' could not be found.", id)
}

// numbered finds a node by its small integer.
func (c *call) numbered(id string) (*cluster.Node, bool) {
	for n := range c.view.Hypervisors() {
		if strconv.FormatInt(n.Number, 10) == id {
			return n, true
		}
	}
	return nil, false
}

func (c *call) showHypervisor() error {
	n, err := c.hypervisor()
	if err != nil {
		return err
	}
	servers := false
	if q := c.r.URL.Query(); c.v >= uuidIDs {
		servers, _ = schema.Truth(q.Get("with_servers"))
	}
	var j writer
	j.open('{').key("hypervisor")
	c.writeHypervisor(&j, n, true, servers)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeHypervisor(j *writer, n *cluster.Node, detail, servers bool) {
	state, status := c.states(n)
	j.open('{')
	c.writeID(j, n)
	j.field("hypervisor_hostname", n.Name).field("state", state).field("status", status)
	if detail {
		j.field("hypervisor_type", n.Host.Type).fieldNum("hypervisor_version", int64(n.Host.Version)).field("host_ip", n.Address)
		j.key("service").open('{')
		c.writeID(j, n)
		j.field("host", n.Name).fieldOrNull("disabled_reason", disabledReason(n)).close('}')
		if c.v >= 88 {
			j.field("uptime", c.uptime(n))
		} else {
			c.writeCapacity(j, c.capacity(n))
			j.key("cpu_info")
			c.writeCPU(j, n)
		}
	}
	if servers {
		c.writeServersOn(j, n)
	}
	j.close('}')
}

// writeServersOn lists the servers of a node. Before 2.75 a node without any had no such member.
func (c *call) writeServersOn(j *writer, n *cluster.Node) {
	some := false
	for in := range c.view.InstancesOn(n.ID) {
		if !some {
			j.key("servers").open('[')
			some = true
		}
		j.open('{').field("name", instanceName(in)).field("uuid", string(in.ID)).close('}')
	}
	switch {
	case some:
		j.close(']')
	case c.v >= 75:
		j.key("servers").open('[').close(']')
	}
}

// capacity is what Nova says about the room on a node, or on all.
type capacity struct {
	have, used cluster.Resources
	tasks, vms int64
}

func (c *call) capacity(n *cluster.Node) capacity {
	k := capacity{
		have: cluster.Resources{VCPUs: n.Capacity.VCPUs, MemoryMiB: n.Capacity.MemoryMiB, DiskGiB: n.Capacity.DiskGiB},
		used: c.view.Allocated(n.ID),
	}
	k.used.MemoryMiB += n.Capacity.ReservedMemoryMiB
	k.used.DiskGiB += n.Capacity.ReservedDiskGiB
	for in := range c.view.InstancesOn(n.ID) {
		k.vms++
		if in.Status.Task != cluster.TaskNone {
			k.tasks++
		}
	}
	return k
}

func (c *call) writeCapacity(j *writer, k capacity) {
	free := k.have.Sub(k.used)
	j.fieldNum("vcpus", k.have.VCPUs).fieldNum("memory_mb", k.have.MemoryMiB).fieldNum("local_gb", k.have.DiskGiB)
	j.fieldNum("vcpus_used", k.used.VCPUs).fieldNum("memory_mb_used", k.used.MemoryMiB).fieldNum("local_gb_used", k.used.DiskGiB)
	j.fieldNum("free_ram_mb", free.MemoryMiB).fieldNum("free_disk_gb", free.DiskGiB)
	j.fieldNum("current_workload", k.tasks).fieldNum("running_vms", k.vms).fieldNum("disk_available_least", free.DiskGiB)
}

// cpuTraits are the standard traits that name CPU flags of x86.
const cpuTraits = "HW_CPU_X86_"

// writeCPU writes what is known of the processors: an object since 2.28, before that a string that holds one.
func (c *call) writeCPU(j *writer, n *cluster.Node) {
	var cpu writer
	h := n.Host
	cpu.open('{').field("arch", h.Arch).field("model", h.CPUModel).field("vendor", h.CPUVendor).key("features").open('[')
	for _, t := range h.Traits {
		if flag, ok := strings.CutPrefix(t, cpuTraits); ok {
			cpu.str(strings.ToLower(flag))
		}
	}
	cpu.close(']').key("topology").open('{').fieldNum("cores", int64(h.Cores)).fieldNum("threads", int64(h.Threads))
	cpu.fieldNum("sockets", int64(h.Sockets)).close('}').close('}')
	if c.v >= 28 {
		j.raw(cpu.b)
	} else {
		j.str(string(cpu.b))
	}
}

// uptime says, like uptime(1), what time it is and for how long the node has been up; "" while it is down, or when that
// is not known. Load averages are not known here.
func (c *call) uptime(n *cluster.Node) string {
	up, since := c.up(n)
	if !up || since.IsZero() {
		return ""
	}
	now := c.Now().UTC()
	d := now.Sub(since).Truncate(time.Minute)
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	s := fmt.Sprintf(" %s up ", now.Format(time.TimeOnly))
	if days > 0 {
		s += fmt.Sprintf("%d days, ", days)
	}
	return s + fmt.Sprintf("%2d:%02d", hours, minutes)
}

func (c *call) showUptime() error {
	n, err := c.hypervisor()
	if err != nil {
		return err
	}
	if up, since := c.up(n); up && since.IsZero() {
		return unsupported("the uptime of this node")
	} else if !up {
		return bad("Compute service of %s is unavailable at this time.", n.Name)
	}
	state, status := c.states(n)
	var j writer
	j.open('{').key("hypervisor").open('{')
	c.writeID(&j, n)
	j.field("hypervisor_hostname", n.Name).field("state", state).field("status", status).field("uptime", c.uptime(n)).close('}').close('}')
	return c.send(http.StatusOK, &j)
}

// showStatistics sums up the nodes that take servers.
func (c *call) showStatistics() error {
	var sum capacity
	count := int64(0)
	for n := range c.view.Hypervisors() {
		if n.Service.Disabled {
			continue
		}
		k := c.capacity(n)
		sum.have, sum.used = sum.have.Add(k.have), sum.used.Add(k.used)
		sum.tasks += k.tasks
		sum.vms += k.vms
		count++
	}
	var j writer
	j.open('{').key("hypervisor_statistics").open('{').fieldNum("count", count)
	c.writeCapacity(&j, sum)
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}
