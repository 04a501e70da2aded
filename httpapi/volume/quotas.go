package volume

import (
	"encoding/json"
	"maps"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// quota is one member of a quota set. Those without a name in the state are of things that there are none of, or have no limit.
type quota struct {
	name  string
	of    cluster.QuotaName
	fixed int64
}

func quotas(view *cluster.View) []quota {
	all := []quota{
		{"volumes", cluster.QuotaVolumes, 0}, {"per_volume_gigabytes", "", cluster.Unlimited}, {"snapshots", cluster.QuotaSnapshots, 0},
		{"gigabytes", cluster.QuotaGigabytes, 0}, {"backups", "", 0}, {"backup_gigabytes", "", 0}, {"groups", "", 0},
	}
	for _, t := range view.VolumeTypes() {
		for _, what := range []string{"volumes_", "gigabytes_", "snapshots_"} {
			all = append(all, quota{what + t.Name, "", cluster.Unlimited})
		}
	}
	return all
}

func (q *quota) limit(v *cluster.View, p cluster.ProjectID) int64 {
	if q.of == "" {
		return q.fixed
	}
	return v.Limit(p, q.of)
}

func (q *quota) used(v *cluster.View, p cluster.ProjectID) int64 {
	u := v.Usage(p)
	switch q.of {
	case cluster.QuotaVolumes:
		return u.Volumes
	case cluster.QuotaSnapshots:
		return u.Snapshots
	case cluster.QuotaGigabytes:
		return u.GiB
	}
	return 0
}

// quotaProject is the project of the path, if the caller may see its quota.
func (c *call) quotaProject() (cluster.ProjectID, error) {
	id := cluster.ProjectID(c.param("project"))
	if !c.caller.Sees(id) {
		return "", c.admin("volume_extension:quotas:show")
	}
	return id, nil
}

func (c *call) quotaSet(id string, of func(*quota) any) error {
	set := map[string]any{}
	for _, q := range quotas(c.view) {
		set[q.name] = of(&q)
	}
	if id != "" {
		set["id"] = id
	}
	return c.reply(http.StatusOK, map[string]any{"quota_set": set})
}

func (c *call) showQuotas() error {
	p, err := c.quotaProject()
	if err != nil {
		return err
	}
	usage, _ := schema.Truth(c.r.URL.Query().Get("usage"))
	return c.quotaSet(string(p), func(q *quota) any {
		if !usage {
			return q.limit(c.view, p)
		}
		return map[string]int64{"limit": q.limit(c.view, p), "in_use": q.used(c.view, p), "reserved": 0, "allocated": 0}
	})
}

func (q *quota) standard() int64 {
	if q.of == "" {
		return q.fixed
	}
	return cluster.DefaultQuota[q.of]
}

func (c *call) showDefaultQuotas() error {
	p, err := c.quotaProject()
	if err != nil {
		return err
	}
	return c.quotaSet(string(p), func(q *quota) any { return q.standard() })
}

func (c *call) showQuotaClass() error {
	set := map[string]any{"id": c.param("class")}
	for _, q := range quotas(c.view) {
		set[q.name] = q.standard()
	}
	return c.reply(http.StatusOK, map[string]any{"quota_class_set": set})
}

// quotaSchema is what a request for limits may hold: numbers, and for whom they are, as the stock clients repeat from the path.
var quotaSchema = func() *schema.Schema {
	limits := schema.Map(`^(?:[\s\S]*)$`, schema.Int(cluster.Unlimited, maxSize))
	limits.Object.Known = map[string]*schema.Schema{"tenant_id": schema.Text(0, 255), "id": schema.Text(0, 255)}
	return schema.Wrap("quota_set", limits)
}()

// limits are the numbers of a quota set.
type limits map[string]flexInt

// UnmarshalJSON leaves out what says for whom they are.
func (l *limits) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	delete(all, "tenant_id")
	delete(all, "id")
	*l = limits{}
	for name, raw := range all {
		var n flexInt
		if err := json.Unmarshal(raw, &n); err != nil {
			return err
		}
		(*l)[name] = n
	}
	return nil
}

func (c *call) updateQuotas() error {
	if err := c.admin("volume_extension:quotas:update"); err != nil {
		return err
	}
	body, err := decode[struct {
		Set limits `json:"quota_set"`
	}](c, quotaSchema)
	if err != nil {
		return err
	}
	p := cluster.ProjectID(c.param("project"))
	err = c.update(func(v *cluster.View) (cluster.Op, error) {
		if _, ok := v.Project(p); !ok {
			return nil, missing("Project", string(p))
		}
		next := cluster.Quota{Project: p, Limits: map[cluster.QuotaName]int64{}}
		if old, ok := v.Quota(p); ok {
			next.Revision = old.Revision
			maps.Copy(next.Limits, old.Limits)
		}
		return &cluster.PutQuota{Quota: next}, c.setLimits(next.Limits, body.Set)
	})
	if err != nil {
		return err
	}
	return c.quotaSet("", func(q *quota) any { return q.limit(c.view, p) })
}

// setLimits takes over what a request says. Limits of what there is none of may only stay as they are.
func (c *call) setLimits(into map[cluster.QuotaName]int64, asked limits) error {
	known := map[string]quota{}
	for _, q := range quotas(c.view) {
		known[q.name] = q
	}
	for name, n := range asked {
		q, ok := known[name]
		switch {
		case !ok:
			return bad("Bad key(s) in quota set: %s", clip(name))
		case q.of != "":
			into[q.of] = int64(n)
		case int64(n) != q.fixed:
			return bad("The limit of %s cannot be changed from %d.", name, q.fixed)
		}
	}
	return nil
}

func (c *call) deleteQuotas() error {
	if err := c.admin("volume_extension:quotas:delete"); err != nil {
		return err
	}
	p := cluster.ProjectID(c.param("project"))
	err := c.update(func(v *cluster.View) (cluster.Op, error) {
		old, ok := v.Quota(p)
		if !ok {
			return nil, nil
		}
		next := cluster.Quota{Project: p, Revision: old.Revision, Limits: maps.Clone(old.Limits)}
		for _, q := range quotas(c.view) {
			delete(next.Limits, q.of)
		}
		return &cluster.PutQuota{Quota: next}, nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusOK)
}

// showLimits is what a project may use and what it uses.
func (c *call) showLimits() error {
	p := c.caller.ProjectID()
	u := c.view.Usage(p)
	return c.reply(http.StatusOK, map[string]any{"limits": map[string]any{"rate": []any{}, "absolute": map[string]int64{
		"maxTotalVolumes": c.view.Limit(p, cluster.QuotaVolumes), "maxTotalSnapshots": c.view.Limit(p, cluster.QuotaSnapshots),
		"maxTotalVolumeGigabytes": c.view.Limit(p, cluster.QuotaGigabytes), "maxTotalBackups": 0, "maxTotalBackupGigabytes": 0,
		"totalVolumesUsed": u.Volumes, "totalGigabytesUsed": u.GiB, "totalSnapshotsUsed": u.Snapshots, "totalBackupsUsed": 0,
		"totalBackupGigabytesUsed": 0,
	}}})
}
