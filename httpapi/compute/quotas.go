package compute

import (
	"math"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/compute/schema"
)

// quota is one member of a quota set.
type quota struct {
	name  string
	until version           // the newest microversion that has it; 0: all
	of    cluster.QuotaName // "": a limit that is always the same, because nothing here could reach it
	fixed int64
}

// quotas are the members of Nova's quota sets. What belongs to networks has gone to Neutron, and files are not put into
// servers here, so those limits are the same for all.
var quotas = []quota{
	{name: "cores", of: cluster.QuotaCores},
	{name: "fixed_ips", until: 35, fixed: cluster.Unlimited},
	{name: "floating_ips", until: 35, fixed: cluster.Unlimited},
	{name: "injected_file_content_bytes", until: 56, fixed: 10240},
	{name: "injected_file_path_bytes", until: 56, fixed: 255},
	{name: "injected_files", until: 56, fixed: 5},
	{name: "instances", of: cluster.QuotaInstances},
	{name: "key_pairs", of: cluster.QuotaKeyPairs},
	{name: "metadata_items", of: cluster.QuotaMetadataItems},
	{name: "ram", of: cluster.QuotaRAM},
	{name: "security_group_rules", until: 35, fixed: cluster.Unlimited},
	{name: "security_groups", until: 35, fixed: cluster.Unlimited},
	{name: "server_group_members", of: cluster.QuotaServerGroupMembers},
	{name: "server_groups", of: cluster.QuotaServerGroups},
}

// limit is what a project may use of it.
func (q *quota) limit(v *cluster.View, p cluster.ProjectID) int64 {
	if q.of == "" {
		return q.fixed
	}
	return v.Limit(p, q.of)
}

// byDefault is what a project may use of it when nobody said otherwise.
func (q *quota) byDefault() int64 {
	if q.of == "" {
		return q.fixed
	}
	return cluster.DefaultQuota[q.of]
}

// used is how much a project uses of it.
func (q *quota) used(v *cluster.View, p cluster.ProjectID) int64 {
	u := v.Usage(p)
	switch q.of {
	case cluster.QuotaInstances:
		return u.Instances
	case cluster.QuotaCores:
		return u.VCPUs
	case cluster.QuotaRAM:
		return u.MemoryMiB
	}
	return 0
}

// quotaProject is the project that the path names. Whoever is no administrator sees only its own.
func (c *call) quotaProject(rule string) (cluster.ProjectID, error) {
	id := cluster.ProjectID(c.param("project"))
	if id != c.caller.ProjectID() {
		if err := c.allow(rule, admin); err != nil {
			return "", err
		}
	}
	if _, ok := c.view.Project(id); !ok {
		return "", noProject(string(id))
	}
	return id, nil
}

// sendQuotas replies with a quota set; of writes the value of a member.
func (c *call) sendQuotas(name, id string, of func(*writer, *quota)) error {
	var j writer
	j.open('{').key(name).open('{')
	if id != "" {
		j.field("id", id)
	}
	for i := range quotas {
		if q := &quotas[i]; c.served(0, q.until) {
			j.key(q.name)
			of(&j, q)
		}
	}
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showQuotas() error {
	id, err := c.quotaProject("os-quota-sets:show")
	if err != nil {
		return err
	}
	return c.sendQuotas("quota_set", string(id), func(j *writer, q *quota) { j.num(q.limit(c.view, id)) })
}

func (c *call) showQuotaDefaults() error {
	id := cluster.ProjectID(c.param("project"))
	if _, ok := c.view.Project(id); !ok {
		return noProject(string(id))
	}
	return c.sendQuotas("quota_set", string(id), func(j *writer, q *quota) { j.num(q.byDefault()) })
}

func (c *call) showQuotaDetail() error {
	id, err := c.quotaProject("os-quota-sets:detail")
	if err != nil {
		return err
	}
	return c.sendQuotas("quota_set", string(id), func(j *writer, q *quota) {
		j.open('{').fieldNum("limit", q.limit(c.view, id)).fieldNum("in_use", q.used(c.view, id)).fieldNum("reserved", 0).close('}')
	})
}

func (c *call) quotaSchema() *schema.Schema {
	known := map[string]*schema.Schema{"force": schema.Boolean()}
	for _, q := range quotas {
		if c.served(0, q.until) {
			known[q.name] = schema.Int(-1, math.MaxInt32)
		}
	}
	if c.v < 36 {
		known["networks"] = schema.Int(-1, math.MaxInt32)
	}
	return schema.Wrap("quota_set", schema.Record(known))
}

func (c *call) updateQuotas() error {
	id, err := c.quotaProject("os-quota-sets:update")
	if err != nil {
		return err
	}
	if c.r.URL.Query().Has("user_id") {
		return bad("Quotas of users are not supported, only those of projects.")
	}
	body, err := decode[struct {
		Set map[string]flexAny `json:"quota_set"`
	}](c, c.quotaSchema())
	if err != nil {
		return err
	}
	err = c.update(func(v *cluster.View) (cluster.Op, error) {
		limits, err := newLimits(v, id, body.Set)
		if err != nil {
			return nil, err
		}
		q := cluster.Quota{Project: id, Limits: limits}
		if old, ok := v.Quota(id); ok {
			q.Revision = old.Revision
		}
		return &cluster.PutQuota{Quota: q}, nil
	})
	if err != nil {
		return err
	}
	return c.sendQuotas("quota_set", "", func(j *writer, q *quota) { j.num(q.limit(c.view, id)) })
}

// newLimits are the limits of a project with the changes that were asked for.
func newLimits(v *cluster.View, id cluster.ProjectID, asked map[string]flexAny) (map[cluster.QuotaName]int64, error) {
	limits := map[cluster.QuotaName]int64{}
	if old, ok := v.Quota(id); ok {
		for name, n := range old.Limits {
			limits[name] = n
		}
	}
	force := asked["force"].truth()
	for i := range quotas {
		q := &quotas[i]
		want, ok := asked[q.name]
		if !ok {
			continue
		}
		n := want.number()
		switch used := q.used(v, id); {
		case q.of == "" && n != q.fixed:
			return nil, bad("The limit of %s cannot be changed from %d.", q.name, q.fixed)
		case q.of == "":
			continue
		case n >= 0 && n < used && !force:
			return nil, bad("Quota limit %d for %s must be greater than or equal to already used and reserved %d.", n, q.name, used)
		}
		limits[q.of] = n
	}
	return limits, nil
}

func (c *call) deleteQuotas() error {
	id, err := c.quotaProject("os-quota-sets:delete")
	if err != nil {
		return err
	}
	if _, err := c.change(&cluster.DeleteQuota{Project: id}); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

// showQuotaClass shows the defaults, which Nova calls the quota class "default".
func (c *call) showQuotaClass() error {
	name := "quota_class_set"
	return c.sendQuotas(name, c.param("class"), func(j *writer, q *quota) { j.num(q.byDefault()) })
}

func (c *call) updateQuotaClass() error {
	return unsupported("changing the default quota")
}
