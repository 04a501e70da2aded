package compute

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// serverQuery is what a listing of servers asks for.
type serverQuery struct {
	project cluster.ProjectID // "": of all projects
	page    rest.Page
	tests   []func(*cluster.Instance) bool // all must hold

	deleted        bool // only what is gone
	both           bool // what is gone too
	soft           bool // what was deleted softly counts as there
	since, before  cluster.Time
	changed, until bool // since or before is set
}

// matches tells whether a server is asked for.
func (q *serverQuery) matches(in *cluster.Instance) bool {
	switch {
	case q.changed && in.Times.Updated < q.since, q.until && in.Times.Updated > q.before:
		return false
	case q.deleted != (in.Deleted || in.Status.VM == cluster.VMSoftDeleted && !q.soft) && !q.both:
		return false
	}
	for _, test := range q.tests {
		if !test(in) {
			return false
		}
	}
	return true
}

// serverSortKeys are Nova's, those first that everybody may use.
var serverSortKeys = []string{"access_ip_v4", "access_ip_v6", "auto_disk_config", "availability_zone", "config_drive", "created_at",
	"display_description", "display_name", "host", "hostname", "image_ref", "instance_type_id", "kernel_id", "key_name", "launch_index",
	"launched_at", "locked_by", "node", "power_state", "progress", "project_id", "ramdisk_id", "root_device_name", "task_state",
	"terminated_at", "updated_at", "user_id", "uuid", "vm_state", "architecture", "cell_name", "cleaned", "default_ephemeral_device",
	"default_swap_device", "deleted", "deleted_at", "disable_terminate", "ephemeral_gb", "ephemeral_key_uuid", "id", "key_data",
	"launched_on", "locked", "memory_mb", "os_type", "reservation_id", "root_gb", "shutdown_terminate", "user_data", "vcpus", "vm_mode"}

// serverParams are the query parameters of a listing of servers that Nova knows, whether they do something here or not.
var serverParams = []string{"user_id", "project_id", "tenant_id", "launch_index", "image_ref", "kernel_id", "ramdisk_id", "hostname",
	"key_name", "power_state", "vm_state", "task_state", "host", "node", "flavor", "reservation_id", "launched_at", "terminated_at",
	"availability_zone", "name", "description", "all_tenants", "access_ip_v4", "access_ip_v6", "config_drive", "progress", "ip", "ip6",
	"changes-since", "changes-before", "uuid", "image", "status", "deleted", "soft_deleted", "limit", "marker", "sort_key", "sort_dir",
	"created_at", "display_description", "display_name", "instance_type_id", "locked_by", "root_device_name", "locked",
	"tags", "tags-any", "not-tags", "not-tags-any"}

// serverQuery reads the query of a listing of servers.
func (c *call) serverQuery() (*serverQuery, error) {
	if err := c.checkQuery(serverParams...); err != nil {
		return nil, err
	}
	v := c.r.URL.Query()
	page, err := rest.ParsePage(c.r, true, serverSortKeys...)
	if err != nil {
		return nil, err
	}
	q := &serverQuery{project: c.caller.ProjectID(), page: page}
	for _, read := range []func(*serverQuery, url.Values) error{c.readScope, c.readTimes, c.readStates, c.readTexts, c.readFields, c.readTags} {
		if err := read(q, v); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// readScope decides whose servers are listed.
func (c *call) readScope(q *serverQuery, v url.Values) error {
	all := false
	if s := v.Get("all_tenants"); v.Has("all_tenants") && s != "" {
		var ok bool
		if all, ok = schema.Truth(s); !ok {
			return bad("Invalid input for query parameters all_tenants. Value: %s. '%s' is not a boolean", s, s)
		}
	} else if v.Has("all_tenants") {
		all = true
	}
	if all {
		if err := c.allow("servers:index:get_all_tenants", admin); err != nil {
			return err
		}
		q.project = ""
	}
	project := v.Get("project_id")
	if project == "" {
		project = v.Get("tenant_id")
	}
	switch {
	case !c.may(admin) && c.caller.Project == nil:
		return c.allow("servers:index", reader)
	case project == "" || !c.may(admin):
	case all:
		q.project = cluster.ProjectID(project)
	case project != string(q.project):
		q.tests = append(q.tests, func(*cluster.Instance) bool { return false }) // another project's, without all_tenants
	}
	if s := v.Get("deleted"); v.Has("deleted") && c.may(admin) {
		deleted, ok := schema.Truth(s)
		if !ok {
			return bad("Invalid input for query parameters deleted. Value: %s. '%s' is not a boolean", s, s)
		}
		q.deleted = deleted
	}
	return nil
}

func (c *call) readTimes(q *serverQuery, v url.Values) error {
	for _, p := range []struct {
		name string
		from version
		to   *cluster.Time
		set  *bool
	}{{"changes-since", oldest, &q.since, &q.changed}, {"changes-before", 66, &q.before, &q.until}} {
		s := v.Get(p.name)
		if c.v < p.from || s == "" {
			continue
		}
		t, err := parseTime(s)
		if err != nil {
			return bad("Invalid input for query parameters %s. Value: %s. '%s' is not a 'date-time'", p.name, s, s)
		}
		*p.to, *p.set = t, true
		q.both = q.both || !v.Has("deleted")
	}
	if q.changed && q.until && q.since > q.before {
		return bad("The value of changes-since must be less than or equal to changes-before.")
	}
	return nil
}

func (c *call) readStates(q *serverQuery, v url.Values) error {
	var statuses []string
	for _, s := range v["status"] {
		if s == "" {
			continue
		}
		if !isStatus(s) && c.v >= 38 {
			return bad("Invalid status value")
		}
		statuses = append(statuses, strings.ToUpper(s))
	}
	if slices.Contains(statuses, "DELETED") {
		if !c.may(admin) {
			return cluster.Errorf(cluster.Forbidden, "Only administrators may list deleted instances")
		}
		q.both = true
	}
	q.soft = slices.Contains(statuses, "SOFT_DELETED") || v.Get("vm_state") == string(cluster.VMSoftDeleted)
	if s := v.Get("soft_deleted"); s != "" && c.may(admin) {
		soft, _ := schema.Truth(s)
		q.soft = q.soft || soft
	}
	if len(statuses) > 0 {
		q.tests = append(q.tests, func(in *cluster.Instance) bool { return slices.Contains(statuses, statusOf(in)) })
	}
	return nil
}

// readTexts reads the filters that are regular expressions.
func (c *call) readTexts(q *serverQuery, v url.Values) error {
	for _, name := range []string{"name", "display_name", "ip", "ip6", "description", "display_description", "hostname"} {
		s := v.Get(name)
		if s == "" || name == "ip6" && c.v < 5 && !c.may(admin) {
			continue
		}
		re, err := compile(s)
		if err != nil {
			return bad("Invalid input for query parameters %s. Value: %s. '%s' is not a 'regex'", name, s, s)
		}
		q.tests = append(q.tests, c.textTest(name, re))
	}
	return nil
}

func (c *call) textTest(name string, re *regexp.Regexp) func(*cluster.Instance) bool {
	switch name {
	case "ip":
		return func(in *cluster.Instance) bool { return c.hasAddress(in, 4, re) }
	case "ip6":
		return func(in *cluster.Instance) bool { return c.hasAddress(in, 6, re) }
	case "description", "display_description":
		return func(in *cluster.Instance) bool { return re.MatchString(in.Spec.Description) }
	case "hostname":
		return func(in *cluster.Instance) bool { return re.MatchString(in.Spec.Hostname) }
	}
	return func(in *cluster.Instance) bool { return re.MatchString(in.Spec.Name) }
}

// hasAddress tells whether an address of the server matches from its beginning on.
func (c *call) hasAddress(in *cluster.Instance, version int, re *regexp.Regexp) bool {
	for _, id := range in.Ports {
		p, ok := c.view.Port(id)
		if !ok {
			continue
		}
		for _, a := range p.FixedIPs {
			if at := re.FindStringIndex(a.Address); ipVersion(a.Address) == version && at != nil && at[0] == 0 {
				return true
			}
		}
	}
	return false
}

// field is a filter by the exact value of something.
type field struct {
	who  level
	text func(*call, *cluster.Instance) string
}

// serverFields are the filters by exact value. Those that the caller may not use are ignored, as in Nova.
var serverFields = map[string]field{
	"image":             {anyone, func(_ *call, in *cluster.Instance) string { return string(in.Spec.Image) }},
	"image_ref":         {admin, func(_ *call, in *cluster.Instance) string { return string(in.Spec.Image) }},
	"flavor":            {anyone, func(_ *call, in *cluster.Instance) string { return string(in.Spec.Flavor.ID) }},
	"reservation_id":    {anyone, func(_ *call, in *cluster.Instance) string { return in.Spec.Reservation }},
	"uuid":              {admin, func(_ *call, in *cluster.Instance) string { return string(in.ID) }},
	"user_id":           {admin, func(_ *call, in *cluster.Instance) string { return string(in.User) }},
	"key_name":          {admin, func(_ *call, in *cluster.Instance) string { return in.Spec.KeyName }},
	"vm_state":          {admin, func(_ *call, in *cluster.Instance) string { return string(vmStateOf(in)) }},
	"task_state":        {admin, func(_ *call, in *cluster.Instance) string { return string(in.Status.Task) }},
	"power_state":       {admin, func(_ *call, in *cluster.Instance) string { return strconv.Itoa(int(powerOf(in))) }},
	"progress":          {admin, func(_ *call, in *cluster.Instance) string { return strconv.Itoa(in.Status.Progress) }},
	"launch_index":      {admin, func(_ *call, in *cluster.Instance) string { return strconv.Itoa(in.LaunchIndex) }},
	"host":              {admin, (*call).nodeName},
	"node":              {admin, (*call).nodeName},
	"availability_zone": {admin, (*call).zoneOf},
	"access_ip_v4":      {admin, func(_ *call, in *cluster.Instance) string { return in.Spec.Access[0] }},
	"access_ip_v6":      {admin, func(_ *call, in *cluster.Instance) string { return in.Spec.Access[1] }},
	"kernel_id":         {admin, func(_ *call, in *cluster.Instance) string { return string(in.Spec.Boot.Kernel) }},
	"ramdisk_id":        {admin, func(_ *call, in *cluster.Instance) string { return string(in.Spec.Boot.Ramdisk) }},
	"locked":            {anyone, func(_ *call, in *cluster.Instance) string { return strconv.FormatBool(in.Spec.Locked != "") }},
	"config_drive":      {admin, func(_ *call, in *cluster.Instance) string { return strconv.FormatBool(in.Spec.Boot.ConfigDrv) }},
}

// openedAt83 are the filters that 2.83 opened to everybody.
var openedAt83 = []string{"availability_zone", "config_drive", "key_name", "launch_index", "power_state", "progress", "task_state",
	"user_id", "vm_state"}

func (c *call) nodeName(in *cluster.Instance) string {
	n, ok := c.view.Node(in.Node)
	if !ok {
		return ""
	}
	return n.Name
}

func (c *call) zoneOf(in *cluster.Instance) string {
	if n, ok := c.view.Node(in.Node); ok {
		return c.view.ZoneOf(n)
	}
	return in.Spec.Scheduling.Zone
}

func (c *call) readFields(q *serverQuery, v url.Values) error {
	for name, f := range sorted(serverFields) {
		if !v.Has(name) || !c.may(f.who) && (c.v < 83 || !slices.Contains(openedAt83, name)) {
			continue
		}
		want := v[name]
		switch name {
		case "locked", "config_drive":
			truth, ok := schema.Truth(want[0])
			if name == "locked" && c.v < 73 {
				continue
			}
			if !ok {
				return bad("Invalid input for query parameters %s. Value: %s. '%s' is not a boolean", name, want[0], want[0])
			}
			want = []string{strconv.FormatBool(truth)}
		case "flavor", "image":
			want = []string{lastPart(want[0])}
		case "power_state", "progress", "launch_index":
			if _, err := strconv.Atoi(want[0]); err != nil {
				return bad("Invalid input for query parameters %s. Value: %s. '%s' does not match '^[0-9]*$'", name, want[0], want[0])
			}
		}
		q.tests = append(q.tests, func(in *cluster.Instance) bool { return slices.Contains(want, f.text(c, in)) })
	}
	return nil
}

// lastPart gives the ID at the end of a reference, which may be a URL.
func lastPart(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func (c *call) readTags(q *serverQuery, v url.Values) error {
	if c.v < 26 {
		return nil
	}
	for name, want := range map[string]struct{ any, not bool }{
		"tags": {}, "tags-any": {any: true}, "not-tags": {not: true}, "not-tags-any": {any: true, not: true}} {
		if !v.Has(name) {
			continue
		}
		tags := strings.Split(v.Get(name), ",")
		for _, t := range tags {
			if t == "" || len(t) > maxTagLength {
				return bad("Tag %s is invalid. It must be a non empty string of at most %d characters without characters '/' and ','", t, maxTagLength)
			}
		}
		q.tests = append(q.tests, func(in *cluster.Instance) bool { return hasTags(in.Spec.Tags, tags, want.any) != want.not })
	}
	return nil
}

// hasTags tells whether all of the wanted tags, or any of them, are there.
func hasTags(have, want []string, anyOf bool) bool {
	n := 0
	for _, t := range want {
		if slices.Contains(have, t) {
			n++
		}
	}
	return n == len(want) || anyOf && n > 0
}
