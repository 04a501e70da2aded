package volume

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// item is one thing of a list: how it looks, and the values that filters and sort keys look at.
type item struct {
	id     string
	born   cluster.Time
	values map[string]string
	maps   map[string]map[string]string // metadata and the like
	show   func() any
}

// notFilters choose a part of a list, or are asked for by clients without meaning.
var notFilters = []string{"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "fields", "consumes_quota"}

// scope is the project whose things are listed: the caller's; for administrators who ask so, all ("") or another.
func (c *call) scope() cluster.ProjectID {
	q := c.r.URL.Query()
	all, _ := schema.Truth(q.Get("all_tenants"))
	if !c.caller.Admin() || !all {
		return c.caller.ProjectID()
	}
	return cluster.ProjectID(cmp.Or(q.Get("project_id"), q.Get("tenant_id")))
}

// list replies with the items that the query asks for.
func (c *call) list(name string, items []item) error {
	q := c.r.URL.Query()
	items = slices.DeleteFunc(items, func(i item) bool { return !i.matches(q) })
	total := len(items)
	items, more, err := c.page(items, q)
	if err != nil {
		return err
	}
	shown := make([]any, len(items))
	for i := range items {
		shown[i] = items[i].show()
	}
	out := map[string]any{name: shown}
	if more && len(items) > 0 {
		out[name+"_links"] = rest.NextLinks(c.r, items[len(items)-1].id)
	}
	if counted, _ := schema.Truth(q.Get("with_count")); counted && c.v >= 45 {
		out["count"] = total
	}
	return c.reply(http.StatusOK, out)
}

// matches tells whether an item has all that the query asks for. Unknown parameters are ignored, as Cinder's clients expect.
func (i *item) matches(q url.Values) bool {
	for key, wanted := range q {
		if slices.Contains(notFilters, key) || len(wanted) == 0 {
			continue
		}
		want := wanted[0]
		if m, ok := i.maps[key]; ok {
			if !hasAll(m, want) {
				return false
			}
			continue
		}
		like := strings.HasSuffix(key, "~")
		have, known := i.values[strings.TrimSuffix(key, "~")]
		switch {
		case !known:
		case like:
			if !strings.Contains(have, want) {
				return false
			}
		case have == "true" || have == "false":
			if yes, ok := schema.Truth(want); !ok || strconv.FormatBool(yes) != have {
				return false
			}
		case have != want:
			return false
		}
	}
	return true
}

// hasAll reads {'key': 'value'} in Python's or JSON's spelling.
func hasAll(have map[string]string, want string) bool {
	var asked map[string]string
	if json.Unmarshal([]byte(want), &asked) != nil && json.Unmarshal([]byte(strings.ReplaceAll(want, "'", `"`)), &asked) != nil {
		return false
	}
	for k, v := range asked {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// sortKeys are what lists are sorted by.
var sortKeys = []string{"id", "status", "size", "availability_zone", "created_at", "updated_at", "name", "display_name", "bootable", "project_id", "volume_id"}

// page sorts, newest first unless the query says otherwise, and cuts.
func (c *call) page(items []item, q url.Values) ([]item, bool, error) {
	p, err := rest.ParsePage(c.r, true, sortKeys...)
	if err != nil {
		return nil, false, err
	}
	if _, ok := q["limit"]; ok && p.Limit == 0 {
		return nil, false, nil
	}
	slices.SortStableFunc(items, func(a, b item) int {
		for _, s := range p.Sort {
			n := compare(s.Key, &a, &b)
			if s.Descending {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return cmp.Or(cmp.Compare(b.born, a.born), cmp.Compare(b.id, a.id))
	})
	if text := q.Get("offset"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, false, bad("Invalid input received: offset param must be an integer")
		}
		items = items[min(int(n), len(items)):]
	}
	page, more, err := rest.Cut(items, p, func(i item) string { return i.id })
	if err != nil {
		return nil, false, cluster.Errorf(cluster.NotFound, "marker [%s] could not be found.", clip(p.Marker))
	}
	return page, more || q.Get("limit") != "" && len(page) == p.Limit, nil // as Cinder: a full page has a next one, if maybe an empty one
}

func compare(key string, a, b *item) int {
	switch key {
	case "created_at":
		return cmp.Compare(a.born, b.born)
	case "size":
		x, _ := strconv.Atoi(a.values[key])
		y, _ := strconv.Atoi(b.values[key])
		return cmp.Compare(x, y)
	case "display_name":
		key = "name"
	}
	return cmp.Compare(a.values[key], b.values[key])
}

func (c *call) listVolumes() error { return c.list("volumes", c.volumeItems(false)) }
func (c *call) listDetails() error { return c.list("volumes", c.volumeItems(true)) }

func (c *call) volumeItems(detailed bool) []item {
	var items []item
	for v := range c.view.VolumesIn(c.scope()) {
		show := func() any { return c.summary(v) }
		if detailed {
			show = func() any { return c.render(v, true) }
		}
		values := map[string]string{
			"id": string(v.ID), "name": v.Name, "status": string(v.Status), "size": strconv.FormatInt(v.SizeGiB, 10),
			"bootable": strconv.FormatBool(v.Traits.Bootable), "availability_zone": zoneOf(c.view, v), "volume_type": c.view.VolumeTypeName(v.Type),
			"updated_at": rest.Micros(v.Times.Updated), "user_id": string(v.User), "host": c.hostOf(v), "description": v.Description,
			"multiattach": strconv.FormatBool(v.Traits.Multiattach), "display_name": v.Name,
		}
		items = append(items, item{id: string(v.ID), born: v.Times.Created, values: values, show: show,
			maps: map[string]map[string]string{"metadata": v.Metadata, "glance_metadata": v.ImageMetadata}})
	}
	return items
}

// summarize is how many volumes there are, and how large they are together.
func (c *call) summarize() error {
	count, size := 0, int64(0)
	meta := map[string][]string{}
	for v := range c.view.VolumesIn(c.scope()) {
		count++
		size += v.SizeGiB
		for k, x := range v.Metadata {
			if !slices.Contains(meta[k], x) {
				meta[k] = append(meta[k], x)
			}
		}
	}
	out := map[string]any{"total_count": count, "total_size": size}
	if c.v >= 36 {
		out["metadata"] = meta
	}
	return c.reply(http.StatusOK, map[string]any{"volume-summary": out})
}
