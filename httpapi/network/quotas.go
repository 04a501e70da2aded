package network

import (
	"maps"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// quotaNames are the limits of this service.
var quotaNames = []cluster.QuotaName{cluster.QuotaNetworks, cluster.QuotaSubnets, cluster.QuotaPorts}

// unserved are limits that clients expect to see, of things that there are none of.
var unserved = []string{"subnetpool", "router", "floatingip", "rbac_policy", "security_group", "security_group_rule"}

func (s *server) quotaRoutes(r chi.Router) {
	r.Get("/quotas", handle(http.StatusOK, s.listQuotas))
	r.Get("/quotas/{project}", handle(http.StatusOK, s.showQuota))
	r.Get("/quotas/{project}/default", handle(http.StatusOK, s.defaultQuota))
	r.Get("/quotas/{project}/details", handle(http.StatusOK, s.quotaDetails))
	r.Get("/quotas/{project}/details.json", handle(http.StatusOK, s.quotaDetails))
	r.Get("/quotas/{project}.json", handle(http.StatusOK, s.showQuota))
	r.Put("/quotas/{project}", handle(http.StatusOK, s.updateQuota))
	r.Delete("/quotas/{project}", handle(http.StatusNoContent, s.deleteQuota))
}

// project is the project of the path, if the caller may see its quota.
func project(r *http.Request) (cluster.ProjectID, error) {
	c, id := rest.CallerFrom(r.Context()), cluster.ProjectID(chi.URLParam(r, "project"))
	if !c.Sees(id) {
		return "", denied("get_quota")
	}
	return id, nil
}

func limits(limit func(cluster.QuotaName) int64) map[string]any {
	out := map[string]any{}
	for _, name := range quotaNames {
		out[string(name)] = limit(name)
	}
	for _, name := range unserved {
		out[name] = 0
	}
	return map[string]any{"quota": out}
}

func (s *server) listQuotas(r *http.Request) (any, error) {
	v, c, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for p := range v.Projects() {
		if q, set := v.Quota(p.ID); !set || !ofNetworks(q) || !c.Sees(p.ID) {
			continue
		}
		one := limits(func(n cluster.QuotaName) int64 { return v.Limit(p.ID, n) })["quota"].(map[string]any)
		one["tenant_id"], one["project_id"] = p.ID, p.ID
		out = append(out, one)
	}
	return map[string]any{"quotas": out}, nil
}

// ofNetworks tells whether a quota sets limits of this service, not only those of others.
func ofNetworks(q *cluster.Quota) bool {
	return slices.ContainsFunc(quotaNames, func(n cluster.QuotaName) bool { _, set := q.Limits[n]; return set })
}

func (s *server) showQuota(r *http.Request) (any, error) {
	v, _, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	p, err := project(r)
	if err != nil {
		return nil, err
	}
	return limits(func(n cluster.QuotaName) int64 { return v.Limit(p, n) }), nil
}

func (s *server) defaultQuota(r *http.Request) (any, error) {
	if _, err := project(r); err != nil {
		return nil, err
	}
	return limits(func(n cluster.QuotaName) int64 { return cluster.DefaultQuota[n] }), nil
}

type quotaDetail struct {
	Limit    int64 `json:"limit"`
	Used     int64 `json:"used"`
	Reserved int64 `json:"reserved"`
}

func (s *server) quotaDetails(r *http.Request) (any, error) {
	v, _, err := s.reader(r)
	if err != nil {
		return nil, err
	}
	p, err := project(r)
	if err != nil {
		return nil, err
	}
	used := v.Usage(p)
	out := map[string]quotaDetail{
		string(cluster.QuotaNetworks): {Limit: v.Limit(p, cluster.QuotaNetworks), Used: used.Networks},
		string(cluster.QuotaSubnets):  {Limit: v.Limit(p, cluster.QuotaSubnets), Used: used.Subnets},
		string(cluster.QuotaPorts):    {Limit: v.Limit(p, cluster.QuotaPorts), Used: used.Ports},
	}
	for _, name := range unserved {
		out[name] = quotaDetail{}
	}
	return map[string]any{"quota": out}, nil
}

func (s *server) updateQuota(r *http.Request) (any, error) {
	c := rest.CallerFrom(r.Context())
	if !c.Admin() {
		return nil, denied("update_quota")
	}
	body, err := rest.Decode[struct {
		Quota map[string]int64 `json:"quota"`
	}](r)
	if err != nil {
		return nil, err
	}
	id := cluster.ProjectID(chi.URLParam(r, "project"))
	_, err = rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		if _, ok := v.Project(id); !ok {
			return nil, missing("Project", string(id))
		}
		q := cluster.Quota{Project: id, Limits: map[cluster.QuotaName]int64{}}
		if old, ok := v.Quota(id); ok {
			q.Revision = old.Revision
			maps.Copy(q.Limits, old.Limits)
		}
		if err := setLimits(q.Limits, body.Quota); err != nil {
			return nil, err
		}
		return &cluster.PutQuota{Quota: q}, nil
	})
	if err != nil {
		return nil, err
	}
	return s.showQuota(r)
}

// setLimits takes over what a request says. The limits of things that there are none of may only stay as they are.
func setLimits(into map[cluster.QuotaName]int64, asked map[string]int64) error {
next:
	for key, value := range asked {
		if value < cluster.Unlimited {
			return cluster.Errorf(cluster.Invalid, "Invalid input for %s. Reason: '%d' should be -1 or greater.", key, value)
		}
		for _, name := range quotaNames {
			if key == string(name) {
				into[name] = value
				continue next
			}
		}
		return cluster.Errorf(cluster.Invalid, "Unrecognized attribute(s) '%s'", key)
	}
	return nil
}

// deleteQuota sets this service's limits back; those of other services stay.
func (s *server) deleteQuota(r *http.Request) (any, error) {
	if !rest.CallerFrom(r.Context()).Admin() {
		return nil, denied("delete_quota")
	}
	id := cluster.ProjectID(chi.URLParam(r, "project"))
	_, err := rest.Update(r, s.Backend, func(v *cluster.View) (cluster.Op, error) {
		old, ok := v.Quota(id)
		if !ok {
			return nil, nil
		}
		q := cluster.Quota{Project: id, Revision: old.Revision, Limits: maps.Clone(old.Limits)}
		for _, name := range quotaNames {
			delete(q.Limits, name)
		}
		return &cluster.PutQuota{Quota: q}, nil
	})
	return nil, err
}
