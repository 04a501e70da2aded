package compute

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// usagePaged is the microversion from which usage comes in pages.
const usagePaged version = 40

// usageSpan is how far back usage is summed up when the client does not say: four weeks, as in Nova.
const usageSpan = 28 * 24 * time.Hour

// period is what usage is summed up over.
type period struct {
	start, stop, now cluster.Time
	detailed         bool
}

// period reads start, end and detailed from the query.
func (c *call) period() (period, error) {
	q := c.r.URL.Query()
	p := period{now: cluster.At(c.Now()), detailed: q.Get("detailed") == "1"}
	p.start, p.stop = p.now.Add(-usageSpan), p.now
	for _, t := range []struct {
		name string
		to   *cluster.Time
	}{{"start", &p.start}, {"end", &p.stop}} {
		if s := q.Get(t.name); s != "" {
			v, err := parseTime(s)
			if err != nil {
				return p, bad("Datetime is in invalid format")
			}
			*t.to = v
		}
	}
	p.stop = min(p.stop, p.now)
	if p.start > p.stop {
		return p, bad("Invalid start time. The start time cannot occur after the end time.")
	}
	return p, nil
}

// end is when a server stopped to be, or now.
func (p *period) end(in *cluster.Instance) cluster.Time {
	if in.Times.Terminated != 0 {
		return in.Times.Terminated
	}
	return p.now
}

// within tells whether a server ran at some time of the period.
func (p *period) within(in *cluster.Instance) bool {
	return in.Times.Launched != 0 && in.Times.Launched <= p.stop && p.end(in) >= p.start
}

// hours is how long a server ran in the period.
func (p *period) hours(in *cluster.Instance) float64 {
	return max(0, min(p.end(in), p.stop).Sub(max(in.Times.Launched, p.start)).Hours())
}

// usageOf finds the servers that ran in the period, those of one project or all, by ID, and cuts a page out of them.
func (c *call) usageOf(project cluster.ProjectID, p *period) (found []*cluster.Instance, next string, err error) {
	for in := range c.view.InstancesOf(project, nil) {
		if p.within(in) {
			found = append(found, in)
		}
	}
	for in := range c.view.Deleted() {
		if (project == "" || project == in.Project) && p.within(in) {
			found = append(found, in)
		}
	}
	slices.SortFunc(found, func(a, b *cluster.Instance) int { return cmp.Compare(a.ID, b.ID) })
	if c.v < usagePaged {
		return found, "", nil
	}
	page, err := rest.ParsePage(c.r, false)
	if err != nil {
		return nil, "", err
	}
	if found, _, err = rest.Cut(found, page, func(in *cluster.Instance) string { return string(in.ID) }); err != nil {
		return nil, "", err
	}
	if len(found) > 0 && len(found) == page.Limit {
		next = string(found[len(found)-1].ID)
	}
	return found, next, nil
}

func (c *call) listUsage() error {
	if err := c.checkQuery("start", "end", "detailed", "limit", "marker"); err != nil {
		return err
	}
	p, err := c.period()
	if err != nil {
		return err
	}
	all, next, err := c.usageOf("", &p)
	if err != nil {
		return err
	}
	projects := map[cluster.ProjectID][]*cluster.Instance{}
	for _, in := range all {
		projects[in.Project] = append(projects[in.Project], in)
	}
	var j writer
	j.open('{').key("tenant_usages").open('[')
	for id, servers := range sorted(projects) {
		p.write(&j, id, servers)
	}
	j.close(']')
	if next != "" {
		c.writeNext(&j, "tenant_usages_links", next)
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showUsage() error {
	if err := c.checkQuery("start", "end", "detailed", "limit", "marker"); err != nil {
		return err
	}
	id := cluster.ProjectID(c.param("project"))
	if id != c.caller.ProjectID() {
		if err := c.allow("os-simple-tenant-usage:show", admin); err != nil {
			return err
		}
	}
	p, err := c.period()
	if err != nil {
		return err
	}
	p.detailed = true
	servers, next, err := c.usageOf(id, &p)
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("tenant_usage")
	if len(servers) == 0 || id == "" {
		j.open('{').close('}')
	} else {
		p.write(&j, id, servers)
	}
	if next != "" {
		c.writeNext(&j, "tenant_usage_links", next)
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// write writes the usage of one project.
func (p *period) write(j *writer, id cluster.ProjectID, servers []*cluster.Instance) {
	j.open('{').field("tenant_id", string(id))
	var disk, cpu, memory, hours float64
	for _, in := range servers {
		h, f := p.hours(in), &in.Spec.Flavor
		hours += h
		cpu += h * float64(f.VCPUs)
		memory += h * float64(f.MemoryMiB)
		disk += h * float64(f.DiskGiB+f.Ephemeral)
	}
	if p.detailed {
		j.key("server_usages").open('[')
		for _, in := range servers {
			p.writeServer(j, in)
		}
		j.close(']')
	}
	j.key("total_local_gb_usage").float(disk).key("total_vcpus_usage").float(cpu).key("total_memory_mb_usage").float(memory)
	j.key("total_hours").float(hours).key("start").micros(p.start).key("stop").micros(p.stop).close('}')
}

func (p *period) writeServer(j *writer, in *cluster.Instance) {
	f := &in.Spec.Flavor
	state := string(in.Status.VM)
	if in.Times.Terminated != 0 {
		state = "terminated"
	}
	j.open('{').key("hours").float(p.hours(in)).field("flavor", f.Name).field("instance_id", string(in.ID)).field("name", in.Spec.Name)
	j.field("tenant_id", string(in.Project)).fieldNum("memory_mb", f.MemoryMiB).fieldNum("local_gb", f.DiskGiB+f.Ephemeral)
	j.fieldNum("vcpus", f.VCPUs).key("started_at").micros(in.Times.Launched).key("ended_at").micros(in.Times.Terminated)
	j.field("state", state).fieldNum("uptime", int64(p.end(in).Sub(in.Times.Launched).Seconds())).close('}')
}
