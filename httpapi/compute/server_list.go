package compute

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// server finds the server that the path names, if the caller may see it. A token for the whole system sees all.
func (c *call) server() (*cluster.Instance, error) {
	id := c.param("server")
	in, ok := c.view.Instance(cluster.InstanceID(id))
	if !ok {
		canonical, isUUID := rest.CanonicalUUID(id)
		if !isUUID {
			return nil, noInstance(id)
		}
		in, ok = c.view.Instance(cluster.InstanceID(canonical))
	}
	if !ok || !c.caller.Sees(in.Project) {
		return nil, noInstance(id)
	}
	return in, nil
}

// serverOrDeleted is server for what may still be read of one that is gone.
func (c *call) serverOrDeleted() (*cluster.Instance, error) {
	in, err := c.server()
	if err == nil || c.v < 21 {
		return in, err
	}
	if gone, ok := c.view.DeletedInstance(cluster.InstanceID(c.param("server"))); ok && c.caller.Sees(gone.Project) {
		return gone, nil
	}
	return nil, err
}

func (c *call) showServer() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	return c.sendServer(http.StatusOK, in, extent{})
}

func (c *call) sendServer(status int, in *cluster.Instance, e extent) error {
	var j writer
	j.open('{').key("server")
	c.newRenderer().server(&j, in, e)
	j.close('}')
	return c.send(status, &j)
}

// bytesPerServer is about what a server of a listing takes, to begin with a buffer that is large enough.
const bytesPerServer = 2300

func (c *call) listServers(detail bool) error {
	q, err := c.serverQuery()
	if err != nil {
		return err
	}
	page, err := c.pageOf(q)
	if err != nil {
		return err
	}
	size := 200 * len(page)
	if detail {
		size = bytesPerServer * len(page)
	}
	j := writer{b: make([]byte, 0, size+500)}
	p := c.newRenderer()
	j.open('{').key("servers").open('[')
	for _, in := range page {
		if detail {
			p.server(&j, in, extent{list: true})
		} else {
			p.brief(&j, in)
		}
	}
	j.close(']')
	if len(page) > 0 && len(page) == q.page.Limit {
		c.writeNext(&j, "servers_links", string(page[len(page)-1].ID))
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// pageOf finds the servers of a page. In the order of the state (newest first) it looks only at what is on the page and
// what the filters drop on the way there; any other order needs all servers.
func (c *call) pageOf(q *serverQuery) ([]*cluster.Instance, error) {
	var after *cluster.Instance
	if q.page.Marker != "" {
		var err error
		if after, err = c.marker(q.page.Marker); err != nil {
			return nil, err
		}
	}
	if q.page.Limit == 0 {
		return nil, nil
	}
	inOrder := len(q.page.Sort) == 0 || len(q.page.Sort) == 1 && q.page.Sort[0] == rest.Sort{Key: "created_at", Descending: true}
	if inOrder && !q.deleted && !q.both {
		return take(c.view.InstancesOf(q.project, after), q), nil
	}
	var all []*cluster.Instance
	for in := range c.view.InstancesOf(q.project, nil) {
		if q.matches(in) {
			all = append(all, in)
		}
	}
	for in := range c.view.Deleted() {
		if (q.project == "" || in.Project == q.project) && q.matches(in) {
			all = append(all, in)
		}
	}
	compare := c.serverOrder(q.page.Sort)
	slices.SortFunc(all, compare)
	if after != nil {
		i, found := slices.BinarySearchFunc(all, after, compare)
		if found {
			i++
		}
		all = all[i:]
	}
	return all[:min(len(all), q.page.Limit)], nil
}

// take collects a page of what matches.
func take(from iter.Seq[*cluster.Instance], q *serverQuery) []*cluster.Instance {
	var page []*cluster.Instance
	for in := range from {
		if q.matches(in) {
			if page = append(page, in); len(page) == q.page.Limit {
				break
			}
		}
	}
	return page
}

// marker finds the server behind which a page begins; it may be gone by now.
func (c *call) marker(id string) (*cluster.Instance, error) {
	in, ok := c.view.Instance(cluster.InstanceID(id))
	if !ok {
		in, ok = c.view.DeletedInstance(cluster.InstanceID(id))
	}
	if ok && c.caller.Sees(in.Project) {
		return in, nil
	}
	return nil, bad("marker [%s] not found", id)
}

// serverOrder compares servers by the keys asked for, then newest first, then by ID downwards, as Nova does.
func (c *call) serverOrder(by []rest.Sort) func(a, b *cluster.Instance) int {
	return func(a, b *cluster.Instance) int {
		for _, s := range by {
			n := c.compareServers(s.Key, a, b)
			if s.Descending {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		if n := cmp.Compare(b.Times.Created, a.Times.Created); n != 0 {
			return n
		}
		return cmp.Compare(b.ID, a.ID)
	}
}

// compareServers compares by one key. By what servers here do not have, they are all alike.
func (c *call) compareServers(key string, a, b *cluster.Instance) int {
	switch key {
	case "created_at", "id":
		return cmp.Or(cmp.Compare(a.Times.Created, b.Times.Created), cmp.Compare(a.Number, b.Number))
	case "updated_at":
		return cmp.Compare(a.Times.Updated, b.Times.Updated)
	case "launched_at":
		return cmp.Compare(a.Times.Launched, b.Times.Launched)
	case "terminated_at", "deleted_at":
		return cmp.Compare(a.Times.Terminated, b.Times.Terminated)
	case "memory_mb":
		return cmp.Compare(a.Spec.Flavor.MemoryMiB, b.Spec.Flavor.MemoryMiB)
	case "vcpus":
		return cmp.Compare(a.Spec.Flavor.VCPUs, b.Spec.Flavor.VCPUs)
	case "root_gb":
		return cmp.Compare(a.Spec.Flavor.DiskGiB, b.Spec.Flavor.DiskGiB)
	case "ephemeral_gb":
		return cmp.Compare(a.Spec.Flavor.Ephemeral, b.Spec.Flavor.Ephemeral)
	case "power_state":
		return cmp.Compare(powerOf(a), powerOf(b))
	case "progress":
		return cmp.Compare(a.Status.Progress, b.Status.Progress)
	case "launch_index":
		return cmp.Compare(a.LaunchIndex, b.LaunchIndex)
	}
	return strings.Compare(c.sortText(key, a), c.sortText(key, b))
}

// sortText is what servers are compared by under the keys that are texts.
func (c *call) sortText(key string, in *cluster.Instance) string {
	switch key {
	case "display_name":
		return in.Spec.Name
	case "display_description":
		return in.Spec.Description
	case "hostname":
		return in.Spec.Hostname
	case "instance_type_id":
		return string(in.Spec.Flavor.ID)
	case "project_id":
		return string(in.Project)
	case "locked_by":
		return in.Spec.Locked
	case "root_device_name":
		return rootDevice(in)
	case "deleted":
		key = "vm_state"
	}
	if f, ok := serverFields[key]; ok {
		return f.text(c, in)
	}
	return ""
}
