package compute

import (
	"cmp"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

func noFlavor(id string) error { return notFound("Flavor %s could not be found.", id) }

// flavor finds the flavor that the path names, if the caller may see it.
func (c *call) flavor() (*cluster.Flavor, error) {
	f, ok := c.view.Flavor(cluster.FlavorID(c.param("flavor")))
	if !ok || !c.seesFlavor(f) {
		return nil, noFlavor(c.param("flavor"))
	}
	return f, nil
}

func (c *call) seesFlavor(f *cluster.Flavor) bool {
	return !f.Private || c.caller.Admin() || slices.Contains(f.Access, c.caller.ProjectID())
}

// flavorSortKeys are Nova's.
var flavorSortKeys = []string{"created_at", "description", "disabled", "ephemeral_gb", "flavorid", "id", "is_public", "memory_mb",
	"name", "root_gb", "rxtx_factor", "swap", "updated_at", "vcpu_weight", "vcpus"}

func (c *call) listFlavors(detail bool) error {
	if err := c.checkQuery("sort_key", "sort_dir", "limit", "marker", "is_public", "minRam", "minDisk"); err != nil {
		return err
	}
	page, err := rest.ParsePage(c.r, false, flavorSortKeys...)
	if err != nil {
		return err
	}
	keep, err := c.flavorFilter()
	if err != nil {
		return err
	}
	var all []*cluster.Flavor
	for f := range c.view.Flavors() {
		if keep(f) {
			all = append(all, f)
		}
	}
	sortFlavors(all, page.Sort)
	all, _, err = rest.Cut(all, page, func(f *cluster.Flavor) string { return string(f.ID) })
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("flavors").open('[')
	for _, f := range all {
		c.writeFlavor(&j, f, detail)
	}
	j.close(']')
	if len(all) == page.Limit && len(all) > 0 {
		c.writeNext(&j, "flavors_links", string(all[len(all)-1].ID))
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// flavorFilter reads the query of a listing of flavors.
func (c *call) flavorFilter() (func(*cluster.Flavor) bool, error) {
	q := c.r.URL.Query()
	var minRAM, minDisk int64
	for name, to := range map[string]*int64{"minRam": &minRAM, "minDisk": &minDisk} {
		if !q.Has(name) {
			continue
		}
		n, err := strconv.ParseInt(q.Get(name), 10, 64)
		if err != nil {
			return nil, bad("Invalid %s filter [%s]", name, q.Get(name))
		}
		*to = n
	}
	var private *bool // nil: both
	no := false
	switch s := q.Get("is_public"); {
	case !c.caller.Admin():
	case !q.Has("is_public") || s == "":
		private = &no
	case strings.EqualFold(s, "none"):
	default:
		public, ok := schema.Truth(s)
		if !ok {
			return nil, bad("Invalid is_public filter [%s]", s)
		}
		private = new(bool)
		*private = !public
	}
	return func(f *cluster.Flavor) bool {
		return f.MemoryMiB >= minRAM && f.DiskGiB >= minDisk && c.seesFlavor(f) && (c.caller.Admin() || !f.Disabled) &&
			(private == nil || *private == f.Private)
	}, nil
}

func sortFlavors(all []*cluster.Flavor, by []rest.Sort) {
	compare := func(key string, a, b *cluster.Flavor) int {
		switch key {
		case "name":
			return cmp.Compare(a.Name, b.Name)
		case "description":
			return cmp.Compare(a.Description, b.Description)
		case "memory_mb":
			return cmp.Compare(a.MemoryMiB, b.MemoryMiB)
		case "vcpus":
			return cmp.Compare(a.VCPUs, b.VCPUs)
		case "root_gb":
			return cmp.Compare(a.DiskGiB, b.DiskGiB)
		case "ephemeral_gb":
			return cmp.Compare(a.Ephemeral, b.Ephemeral)
		case "swap":
			return cmp.Compare(a.SwapMiB, b.SwapMiB)
		case "rxtx_factor":
			return cmp.Compare(a.RxTxFactor, b.RxTxFactor)
		case "created_at", "id":
			return cmp.Compare(a.Created, b.Created)
		case "updated_at":
			return cmp.Compare(a.Revision, b.Revision)
		case "flavorid":
			return cmp.Compare(a.ID, b.ID)
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b *cluster.Flavor) int {
		for _, s := range by {
			n := compare(s.Key, a, b)
			if s.Descending {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return cmp.Compare(a.ID, b.ID)
	})
}

func (c *call) showFlavor() error {
	f, err := c.flavor()
	if err != nil {
		return err
	}
	return c.sendFlavor(f)
}

func (c *call) sendFlavor(f *cluster.Flavor) error {
	var j writer
	j.open('{').key("flavor")
	c.writeFlavor(&j, f, true)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeFlavor(j *writer, f *cluster.Flavor, detail bool) {
	j.open('{').field("id", string(f.ID)).field("name", f.Name)
	if detail {
		j.fieldNum("ram", f.MemoryMiB).fieldNum("disk", f.DiskGiB).key("swap")
		if f.SwapMiB == 0 && c.v < 75 {
			j.str("")
		} else {
			j.num(f.SwapMiB)
		}
		j.fieldNum("OS-FLV-EXT-DATA:ephemeral", f.Ephemeral).fieldTruth("OS-FLV-DISABLED:disabled", f.Disabled)
		j.fieldNum("vcpus", f.VCPUs).fieldTruth("os-flavor-access:is_public", !f.Private)
		j.key("rxtx_factor").float(cmp.Or(f.RxTxFactor, 1))
	}
	j.key("links").open('[')
	writeLink(j, "self", c.links.self+"/flavors/"+escape(string(f.ID)))
	writeLink(j, "bookmark", c.links.bookmark+"/flavors/"+escape(string(f.ID)))
	j.close(']')
	if c.v >= 55 {
		j.fieldOrNull("description", f.Description)
	}
	if detail && c.v >= 61 {
		j.key("extra_specs").texts(f.ExtraSpecs)
	}
	j.close('}')
}

type flavorBody struct {
	Flavor struct {
		Name        string    `json:"name"`
		ID          *flexText `json:"id"`
		RAM         flexInt   `json:"ram"`
		VCPUs       flexInt   `json:"vcpus"`
		Disk        flexInt   `json:"disk"`
		Ephemeral   flexInt   `json:"OS-FLV-EXT-DATA:ephemeral"`
		Swap        flexInt   `json:"swap"`
		RxTx        flexText  `json:"rxtx_factor"`
		Public      *flexBool `json:"os-flavor-access:is_public"`
		Description string    `json:"description"`
	} `json:"flavor"`
}

func flavorSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{
		"name": schemaName,
		"id": {Types: []string{"string", "number", "null"}, MinLength: 1, MaxLength: 255,
			Pattern: regexp.MustCompile(`^[a-zA-Z0-9._-]([a-zA-Z0-9. _-]*[a-zA-Z0-9._-])?$`)},
		"ram":                        schemaCount,
		"vcpus":                      schemaCount,
		"disk":                       schema.Int(0, math.MaxInt32),
		"OS-FLV-EXT-DATA:ephemeral":  schema.Int(0, math.MaxInt32),
		"swap":                       schema.Int(0, math.MaxInt32),
		"rxtx_factor":                {Types: []string{"string", "number"}, Pattern: regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`), Min: new(int64)},
		"os-flavor-access:is_public": schema.Boolean(),
	}
	if v >= 55 {
		known["description"] = schema.Text(0, 65535).OrNull().Formatted(formatPrintable)
	}
	return schema.Wrap("flavor", schema.Record(known, "name", "ram", "vcpus", "disk"))
}

func (c *call) createFlavor() error {
	body, err := decode[flavorBody](c, flavorSchema(c.v))
	if err != nil {
		return err
	}
	b := body.Flavor
	f := cluster.Flavor{Name: b.Name, Description: b.Description, VCPUs: int64(b.VCPUs), MemoryMiB: int64(b.RAM), DiskGiB: int64(b.Disk),
		Ephemeral: int64(b.Ephemeral), SwapMiB: int64(b.Swap), RxTxFactor: 1, Private: b.Public != nil && !bool(*b.Public),
		Created: cluster.At(c.Now())}
	if b.RxTx != "" {
		if f.RxTxFactor, err = strconv.ParseFloat(string(b.RxTx), 64); err != nil || f.RxTxFactor <= 0 {
			return bad("Invalid input for field/attribute rxtx_factor. Value: %s. It must be greater than 0", b.RxTx)
		}
	}
	if f.ID = cluster.FlavorID(rest.NewUUID()); b.ID != nil && *b.ID != "" && *b.ID != "auto" {
		f.ID = cluster.FlavorID(*b.ID)
	}
	if c.first() {
		if _, taken := c.view.FlavorNamed(f.Name); taken {
			return conflict("Flavor with name %s already exists.", f.Name)
		}
		if _, taken := c.view.Flavor(f.ID); taken {
			return conflict("Flavor with ID %s already exists.", f.ID)
		}
	}
	res, err := c.change(&cluster.PutFlavor{Flavor: f})
	if err != nil {
		return err
	}
	return c.sendFlavor(made(res, string(f.ID), func(id string) (*cluster.Flavor, bool) { return c.view.Flavor(cluster.FlavorID(id)) }, &f))
}

// made finds what a change made, which, when the request is a repetition, is not what it proposed. What is gone again
// is shown as it was proposed.
func made[T any](res cluster.Result, id string, find func(string) (*T, bool), proposed *T) *T {
	if len(res.IDs) > 0 {
		id = res.IDs[0]
	}
	if x, ok := find(id); ok {
		return x
	}
	return proposed
}

// updateFlavor changes the description; nothing else of a flavor ever changes.
func (c *call) updateFlavor() error {
	body, err := decode[flavorBody](c, schema.Wrap("flavor", schema.Record(map[string]*schema.Schema{
		"description": schema.Text(0, 65535).OrNull().Formatted(formatPrintable)}, "description")))
	if err != nil {
		return err
	}
	err = c.changeFlavor(func(f *cluster.Flavor) error {
		f.Description = body.Flavor.Description
		return nil
	})
	if err != nil {
		return err
	}
	return c.showFlavor()
}

// changeFlavor changes the flavor that the path names; change is given a copy, and is asked again when another change
// came between.
func (c *call) changeFlavor(change func(*cluster.Flavor) error) error {
	return c.update(func(v *cluster.View) (cluster.Op, error) {
		c.view = v
		f, err := c.flavor()
		if err != nil {
			return nil, err
		}
		f = f.Clone()
		if err := change(f); err != nil {
			return nil, err
		}
		return &cluster.PutFlavor{Flavor: *f}, nil
	})
}

func (c *call) deleteFlavor() error {
	id := c.param("flavor")
	if _, ok := c.view.Flavor(cluster.FlavorID(id)); !ok && c.first() {
		return noFlavor(id)
	}
	if _, err := c.change(&cluster.DeleteFlavor{ID: cluster.FlavorID(id)}); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}
