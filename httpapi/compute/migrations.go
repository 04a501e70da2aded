package compute

import (
	"cmp"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The microversions that changed how migrations are shown.
const (
	migrationTypes  version = 23 // their type, and links to those that are under way
	migrationUUIDs  version = 59 // and paging, changes-since
	migrationBefore version = 66 // changes-before
	migrationOwners version = 80
)

// migrationQuery is what a listing of migrations asks for.
type migrationQuery struct {
	times serverQuery // only since and before
	tests []func(*cluster.Migration) bool
}

func (q *migrationQuery) matches(m *cluster.Migration) bool {
	if q.times.changed && m.Updated < q.times.since || q.times.until && m.Updated > q.times.before {
		return false
	}
	return !slices.ContainsFunc(q.tests, func(test func(*cluster.Migration) bool) bool { return !test(m) })
}

// listMigrations is GET /os-migrations: newest first and in pages from migrationUUIDs on, oldest first before.
func (c *call) listMigrations() error {
	q, err := c.migrationQuery()
	if err != nil {
		return err
	}
	var all []*cluster.Migration
	for m := range c.view.Migrations() {
		if q.matches(m) {
			all = append(all, m)
		}
	}
	next := ""
	if c.v >= migrationUUIDs {
		slices.SortFunc(all, func(a, b *cluster.Migration) int {
			return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(b.Number, a.Number))
		})
		if all, next, err = c.pageOfMigrations(all); err != nil {
			return err
		}
	}
	var j writer
	j.open('{').key("migrations").open('[')
	for _, m := range all {
		c.writeMigration(&j, m)
	}
	j.close(']')
	if next != "" {
		c.writeNext(&j, "migrations_links", next)
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) pageOfMigrations(all []*cluster.Migration) (page []*cluster.Migration, next string, err error) {
	wanted, err := rest.ParsePage(c.r, true)
	if err != nil {
		return nil, "", err
	}
	id := func(m *cluster.Migration) string { return string(m.ID) }
	if wanted.Marker != "" && !slices.ContainsFunc(all, func(m *cluster.Migration) bool { return id(m) == wanted.Marker }) {
		return nil, "", bad("Marker %s could not be found.", wanted.Marker)
	}
	page, _, err = rest.Cut(all, wanted, id)
	if err == nil && len(page) > 0 && len(page) == wanted.Limit {
		next = id(page[len(page)-1])
	}
	return page, next, err
}

// migrationQuery reads the query of a listing of migrations.
func (c *call) migrationQuery() (*migrationQuery, error) {
	v := c.r.URL.Query()
	known := []string{"hidden", "host", "instance_uuid", "source_compute", "status", "migration_type", "limit", "marker", "changes-since"}
	if c.v >= migrationBefore {
		known = append(known, "changes-before")
	}
	if c.v >= migrationOwners {
		known = append(known, "user_id", "project_id")
	}
	if c.v >= migrationUUIDs {
		for name := range sorted(v) {
			if !slices.Contains(known, name) {
				return nil, bad("Additional properties are not allowed ('%s' was unexpected)", name)
			}
		}
	}
	q := &migrationQuery{}
	if c.v >= migrationUUIDs {
		if err := c.readTimes(&q.times, v); err != nil {
			return nil, err
		}
	}
	for name, get := range map[string]func(*cluster.Migration) []string{
		"host":           func(m *cluster.Migration) []string { return []string{c.nameOf(m.From), c.nameOf(m.To)} },
		"instance_uuid":  func(m *cluster.Migration) []string { return []string{string(m.Instance)} },
		"source_compute": func(m *cluster.Migration) []string { return []string{c.nameOf(m.From)} },
		"status":         func(m *cluster.Migration) []string { return []string{statusOfMigration(m)} },
		"migration_type": func(m *cluster.Migration) []string { return []string{string(m.Kind)} },
		"user_id":        func(m *cluster.Migration) []string { return []string{string(m.User)} },
		"project_id":     func(m *cluster.Migration) []string { return []string{string(m.Project)} },
	} {
		if want := v.Get(name); want != "" && slices.Contains(known, name) {
			q.tests = append(q.tests, func(m *cluster.Migration) bool { return slices.Contains(get(m), want) })
		}
	}
	return q, nil
}

// nameOf is a node's name; "" when it is gone, or there is none.
func (c *call) nameOf(id cluster.NodeID) string {
	if n, ok := c.view.Node(id); ok {
		return n.Name
	}
	return ""
}

// statusOfMigration is Nova's word for how far a migration is: that of an evacuation that went well is another.
func statusOfMigration(m *cluster.Migration) string {
	if m.Kind == cluster.OpEvacuate && m.Status == cluster.MigrationCompleted {
		return "done"
	}
	return m.Status
}

// underWay tells whether a migration moves a running server right now.
func underWay(m *cluster.Migration) bool {
	return m.Kind == cluster.OpLive && slices.Contains([]string{"queued", "preparing", "running", "post-migrating"}, m.Status)
}

func (c *call) writeMigration(j *writer, m *cluster.Migration) {
	from, to, address := c.nameOf(m.From), c.nameOf(m.To), ""
	if n, ok := c.view.Node(m.To); ok && m.Kind != cluster.OpLive {
		address = n.Address
	}
	j.open('{').fieldNum("id", m.Number)
	if c.v >= migrationUUIDs {
		j.field("uuid", string(m.ID))
	}
	j.field("source_compute", from).fieldOrNull("dest_compute", to).field("source_node", from).fieldOrNull("dest_node", to)
	j.fieldOrNull("dest_host", address).fieldNum("old_instance_type_id", flavorNumber(m.OldFlavor))
	j.fieldNum("new_instance_type_id", flavorNumber(m.NewFlavor)).field("instance_uuid", string(m.Instance))
	j.field("status", statusOfMigration(m))
	if c.v >= migrationTypes {
		j.field("migration_type", string(m.Kind))
	}
	if c.v >= migrationOwners {
		j.field("user_id", string(m.User)).field("project_id", string(m.Project))
	}
	j.key("created_at").micros(m.Created).key("updated_at").micros(m.Updated)
	if c.v >= migrationTypes && underWay(m) {
		path := "/servers/" + string(m.Instance) + "/migrations/" + strconv.FormatInt(m.Number, 10)
		j.key("links").open('[')
		writeLink(j, "self", c.links.self+path)
		writeLink(j, "bookmark", c.links.bookmark+path)
		j.close(']')
	}
	j.close('}')
}

// flavorNumber stands for a flavor where Nova shows the number of a database row that nobody can look up: the same flavor
// has the same number.
func flavorNumber(id cluster.FlavorID) int64 {
	if n, err := strconv.ParseInt(string(id), 10, 32); err == nil && n >= 0 {
		return n
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return int64(h.Sum32() >> 1)
}
