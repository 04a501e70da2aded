package compute

import (
	"maps"
	"math"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// quota is one member of a quota set.
type quota struct {
	name  cluster.QuotaName
	until version // the newest microversion that has it; 0: all
}

// quotas are the members of Nova's quota sets. What belongs to networks has gone to Neutron, and files are not put into
// servers here, so those limits are remembered and limit nothing.
var quotas = []quota{
	{name: cluster.QuotaCores},
	{name: cluster.QuotaFixedIPs, until: 35},
	{name: cluster.QuotaFloatingIPs, until: 35},
	{name: cluster.QuotaFileContent, until: 56},
	{name: cluster.QuotaFilePath, until: 56},
	{name: cluster.QuotaFiles, until: 56},
	{name: cluster.QuotaInstances},
	{name: cluster.QuotaKeyPairs},
	{name: cluster.QuotaMetadataItems},
	{name: cluster.QuotaRAM},
	{name: cluster.QuotaSecurityGroupRules, until: 35},
	{name: cluster.QuotaSecurityGroups, until: 35},
	{name: cluster.QuotaServerGroupMembers},
	{name: cluster.QuotaServerGroups},
}

// quotaOwner is whose quota a request is about: a project's, or a user's in it.
type quotaOwner struct {
	project cluster.ProjectID
	user    cluster.UserID // "": the project's own
}

// limit is what the owner may use of something.
func (o quotaOwner) limit(v *cluster.View, name cluster.QuotaName) int64 {
	if o.user != "" {
		return v.UserLimit(o.project, o.user, name)
	}
	return v.Limit(o.project, name)
}

// used is how much the owner uses of it.
func (o quotaOwner) used(v *cluster.View, name cluster.QuotaName) int64 {
	u := v.Usage(o.project)
	if o.user != "" {
		u = v.UserUsage(o.project, o.user)
	}
	switch name {
	case cluster.QuotaInstances:
		return u.Instances
	case cluster.QuotaCores:
		return u.VCPUs
	case cluster.QuotaRAM:
		return u.MemoryMiB
	case cluster.QuotaServerGroups:
		all, own := v.ServerGroupCount(o.project, o.user)
		if o.user != "" {
			return own
		}
		return all
	}
	return 0
}

// set is what was set for the owner, with a clone of its limits; nothing was when its revision is 0.
func (o quotaOwner) set(v *cluster.View) cluster.Quota {
	q := cluster.Quota{Project: o.project, User: o.user, Limits: map[cluster.QuotaName]int64{}}
	old, ok := v.Quota(o.project)
	if o.user != "" {
		old, ok = v.UserQuota(o.project, o.user)
	}
	if ok {
		q.Revision = old.Revision
		maps.Copy(q.Limits, old.Limits)
	}
	return q
}

// quotaOwner is the project that the path names, and the user that the query names. Whoever is no administrator sees only
// its own project, and of its users only itself.
func (c *call) quotaOwner(rule string) (quotaOwner, error) {
	o := quotaOwner{cluster.ProjectID(c.param("project")), cluster.UserID(c.r.URL.Query().Get("user_id"))}
	if o.project != c.caller.ProjectID() || o.user != "" && o.user != c.caller.User.ID {
		if err := c.allow(rule, admin); err != nil {
			return o, err
		}
	}
	if _, ok := c.view.Project(o.project); !ok {
		return o, noProject(string(o.project))
	}
	return o, nil
}

// sendQuotas replies with a quota set; of writes the value of a member.
func (c *call) sendQuotas(name, id string, of func(*writer, cluster.QuotaName)) error {
	var j writer
	j.open('{').key(name).open('{')
	if id != "" {
		j.field("id", id)
	}
	for i := range quotas {
		if q := &quotas[i]; c.served(0, q.until) {
			j.key(string(q.name))
			of(&j, q.name)
		}
	}
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showQuotas() error {
	o, err := c.quotaOwner("os-quota-sets:show")
	if err != nil {
		return err
	}
	return c.sendQuotas("quota_set", string(o.project), func(j *writer, n cluster.QuotaName) { j.num(o.limit(c.view, n)) })
}

func (c *call) showQuotaDefaults() error {
	id := cluster.ProjectID(c.param("project"))
	if _, ok := c.view.Project(id); !ok {
		return noProject(string(id))
	}
	return c.sendQuotas("quota_set", string(id), func(j *writer, n cluster.QuotaName) { j.num(c.view.DefaultLimit(n)) })
}

func (c *call) showQuotaDetail() error {
	o, err := c.quotaOwner("os-quota-sets:detail")
	if err != nil {
		return err
	}
	return c.sendQuotas("quota_set", string(o.project), func(j *writer, n cluster.QuotaName) {
		j.open('{').fieldNum("limit", o.limit(c.view, n)).fieldNum("in_use", o.used(c.view, n)).fieldNum("reserved", 0).close('}')
	})
}

// quotaSchema is what changes a quota set or class, whose body has the given name.
func (c *call) quotaSchema(name string) *schema.Schema {
	known := map[string]*schema.Schema{}
	if name == "quota_set" {
		known["force"] = schema.Boolean()
	}
	for _, q := range quotas {
		if c.served(0, q.until) {
			known[string(q.name)] = schema.Int(-1, math.MaxInt32)
		}
	}
	if c.v < 36 {
		known["networks"] = schema.Int(-1, math.MaxInt32)
	}
	return schema.Wrap(name, schema.Record(known))
}

func (c *call) updateQuotas() error {
	o, err := c.quotaOwner("os-quota-sets:update")
	if err != nil {
		return err
	}
	body, err := decode[struct {
		Set map[string]flexAny `json:"quota_set"`
	}](c, c.quotaSchema("quota_set"))
	if err != nil {
		return err
	}
	err = c.update(func(v *cluster.View) (cluster.Op, error) {
		q := o.set(v)
		if err := o.newLimits(v, q.Limits, body.Set); err != nil {
			return nil, err
		}
		return &cluster.PutQuota{Quota: q}, nil
	})
	if err != nil {
		return err
	}
	return c.sendQuotas("quota_set", "", func(j *writer, n cluster.QuotaName) { j.num(o.limit(c.view, n)) })
}

// newLimits writes the changes that were asked for into limits. Unless by force, a limit is not below what is used, nor a
// user's above the project's.
func (o quotaOwner) newLimits(v *cluster.View, limits map[cluster.QuotaName]int64, asked map[string]flexAny) error {
	force := asked["force"].truth()
	for i := range quotas {
		name := quotas[i].name
		want, ok := asked[string(name)]
		if !ok {
			continue
		}
		n := want.number()
		least, most := o.used(v, name), int64(cluster.Unlimited)
		if o.user != "" {
			most = v.Limit(o.project, name)
		}
		switch {
		case !force && n >= 0 && n < least:
			return bad("Quota limit %d for %s must be greater than or equal to already used and reserved %d.", n, name, least)
		case !force && most >= 0 && (n < 0 || n > most):
			return bad("Quota limit %d for %s must be less than or equal to %d.", n, name, most)
		}
		limits[name] = n
	}
	return nil
}

func (c *call) deleteQuotas() error {
	o, err := c.quotaOwner("os-quota-sets:delete")
	if err != nil {
		return err
	}
	if _, err := c.change(&cluster.DeleteQuota{Project: o.project, User: o.user}); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

// classLimit is what a quota class says of something. Only the class "default" has an effect.
func classLimit(v *cluster.View, class string, name cluster.QuotaName) int64 {
	if q, ok := v.QuotaClass(class); ok {
		if n, ok := q.Limits[name]; ok {
			return n
		}
	}
	return cluster.DefaultQuota[name]
}

func (c *call) showQuotaClass() error { return c.sendQuotaClass(c.param("class")) }

func (c *call) sendQuotaClass(id string) error {
	class := c.param("class")
	return c.sendQuotas("quota_class_set", id, func(j *writer, n cluster.QuotaName) { j.num(classLimit(c.view, class, n)) })
}

func (c *call) updateQuotaClass() error {
	body, err := decode[struct {
		Set map[string]flexAny `json:"quota_class_set"`
	}](c, c.quotaSchema("quota_class_set"))
	if err != nil {
		return err
	}
	err = c.update(func(v *cluster.View) (cluster.Op, error) {
		q := cluster.QuotaClass{Name: c.param("class"), Limits: map[cluster.QuotaName]int64{}}
		if old, ok := v.QuotaClass(q.Name); ok {
			q.Revision = old.Revision
			maps.Copy(q.Limits, old.Limits)
		}
		for i := range quotas {
			if want, ok := body.Set[string(quotas[i].name)]; ok {
				q.Limits[quotas[i].name] = want.number()
			}
		}
		return &cluster.PutQuotaClass{Class: q}, nil
	})
	if err != nil {
		return err
	}
	return c.sendQuotaClass("")
}
