package compute

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

func (c *call) listZones(detail bool) error {
	zones := map[string][]*cluster.Node{}
	for _, n := range c.nodes() {
		zone := c.view.ZoneOf(n)
		zones[zone] = append(zones[zone], n)
	}
	var j writer
	j.open('{').key("availabilityZoneInfo").open('[')
	for zone, nodes := range sorted(zones) {
		available := false
		for _, n := range nodes {
			available = available || !n.Service.Disabled && !n.Service.Draining
		}
		j.open('{').field("zoneName", zone).key("zoneState").open('{').fieldTruth("available", available).close('}').key("hosts")
		if detail {
			c.writeZoneHosts(&j, nodes)
		} else {
			j.null()
		}
		j.close('}')
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeZoneHosts(j *writer, nodes []*cluster.Node) {
	j.open('{')
	for _, n := range nodes {
		up, _ := c.up(n)
		j.key(n.Name).open('{').key(computeBinary).open('{').fieldTruth("available", up)
		j.fieldTruth("active", !n.Service.Disabled && !n.Service.Draining).key("updated_at").micros(c.lastSeen(n)).close('}').close('}')
	}
	j.close('}')
}

// listHosts is what came before listServices; 2.43 took it away.
func (c *call) listHosts() error {
	zone := c.r.URL.Query().Get("zone")
	var j writer
	j.open('{').key("hosts").open('[')
	for _, n := range c.nodes() {
		if of := c.view.ZoneOf(n); zone == "" || zone == of {
			j.open('{').field("host_name", n.Name).field("service", "compute").field("zone", of).close('}')
		}
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

// showHost says what a node has, what is used, and what of it each project uses.
func (c *call) showHost() error {
	name := c.param("host")
	n, ok := c.view.NodeNamed(name)
	if !ok {
		return notFound("Compute host %s could not be found.", name)
	}
	k := c.capacity(n)
	var sum cluster.Resources
	projects := map[cluster.ProjectID]cluster.Resources{}
	for in := range c.view.InstancesOn(n.ID) {
		sum = sum.Add(in.Resources())
		projects[in.Project] = projects[in.Project].Add(in.Resources())
	}
	var j writer
	j.open('{').key("host").open('[')
	line := func(project string, r cluster.Resources) {
		j.open('{').key("resource").open('{').field("host", n.Name).field("project", project).fieldNum("cpu", r.VCPUs)
		j.fieldNum("memory_mb", r.MemoryMiB).fieldNum("disk_gb", r.DiskGiB).close('}').close('}')
	}
	line("(total)", k.have)
	line("(used_now)", k.used)
	line("(used_max)", sum)
	for project, r := range sorted(projects) {
		line(string(project), r)
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}
