package cluster

import (
	"strconv"

	"github.com/tidwall/btree"
)

// DefaultQuotaClass is the quota class whose limits are those of every project that has none of its own.
const DefaultQuotaClass = "default"

// QuotaClass is limits under a name. Only those of DefaultQuotaClass have an effect.
type QuotaClass struct {
	Name     string              `json:"name"`
	Revision uint64              `json:"revision"`
	Limits   map[QuotaName]int64 `json:"limits"`
}

// PutQuotaClass sets the limits of a quota class (see the note on Put ops in op_identity.go).
type PutQuotaClass struct {
	Class QuotaClass `json:"class"`
}

// Kind of the op.
func (*PutQuotaClass) Kind() Kind { return KindPutQuotaClass }

// quotaTables is quotas finer and coarser than those of projects.
type quotaTables struct {
	userQuotas   btree.Map[string, *Quota]      // project, user
	quotaClasses btree.Map[string, *QuotaClass] // name
	userUsage    btree.Map[string, Usage]       // project, user
}

func (c *quotaTables) share(t *quotaTables) {
	c.userQuotas = *t.userQuotas.Copy()
	c.quotaClasses = *t.quotaClasses.Copy()
	c.userUsage = *t.userUsage.Copy()
}

// QuotaClass finds what was set for a quota class.
func (v *View) QuotaClass(name string) (*QuotaClass, bool) { return v.t.quotaClasses.Get(name) }

// UserQuota finds what was set for a user of a project.
func (v *View) UserQuota(p ProjectID, u UserID) (*Quota, bool) {
	return v.t.userQuotas.Get(key(string(p), string(u)))
}

// DefaultLimit is what a project may use of something when nothing was set for it.
func (v *View) DefaultLimit(name QuotaName) int64 { return v.t.defaultLimit(name) }

// UserLimit is what a user may use of something in a project: what was set for the user, or what the project may.
func (v *View) UserLimit(p ProjectID, u UserID, name QuotaName) int64 {
	return v.t.userLimit(p, u, name)
}

// UserUsage is what a user's instances use of a project's quota. What else there is belongs to projects only.
func (v *View) UserUsage(p ProjectID, u UserID) Usage {
	usage, _ := v.t.userUsage.Get(key(string(p), string(u)))
	return usage
}

func (t *tables) defaultLimit(name QuotaName) int64 {
	if c, ok := t.quotaClasses.Get(DefaultQuotaClass); ok {
		if n, ok := c.Limits[name]; ok {
			return n
		}
	}
	return DefaultQuota[name]
}

func (t *tables) userLimit(p ProjectID, u UserID, name QuotaName) int64 {
	if q, ok := t.userQuotas.Get(key(string(p), string(u))); ok {
		if n, ok := q.Limits[name]; ok {
			return n
		}
	}
	return t.limit(p, name)
}

// exceedsUser tells whether more of something does not fit a user's limit in a project.
func (s *State) exceedsUser(p ProjectID, u UserID, name QuotaName, used, more int64) bool {
	limit := s.t.userLimit(p, u, name)
	return limit != Unlimited && used+more > limit
}

// checkUserQuota refuses n more instances of a size that are too many for their user.
func (s *State) checkUserQuota(p ProjectID, u UserID, n int64, each Resources) *Error {
	if _, ok := s.t.userQuotas.Get(key(string(p), string(u))); !ok {
		return nil
	}
	used, _ := s.t.userUsage.Get(key(string(p), string(u)))
	return overQuota(used, n, each, func(name QuotaName) int64 { return s.t.userLimit(p, u, name) })
}

func (s *State) saveQuotaClass(o *PutQuotaClass) ([]string, *Error) {
	c := o.Class
	old, exists := lookup(&s.t.quotaClasses, c.Name)
	if err := firstOf(
		checkID("Quota class", c.Name),
		checkLimits(c.Limits),
		revised("Quota class", c.Name, c.Revision, old.Revision, exists),
	); err != nil {
		return nil, err
	}
	c.Revision = s.t.meta.Index
	s.t.quotaClasses.Set(c.Name, &c)
	return []string{c.Name}, nil
}

func (s *State) putUserQuota(q *Quota) { s.t.userQuotas.Set(key(string(q.Project), string(q.User)), q) }

func (s *State) saveUserQuota(q *Quota) ([]string, *Error) {
	old, exists := lookup(&s.t.userQuotas, key(string(q.Project), string(q.User)))
	if _, ok := s.t.users.Get(q.User); !ok {
		return nil, missingUser(q.User)
	}
	if err := revised("Quota of user", string(q.User), q.Revision, old.Revision, exists); err != nil {
		return nil, err
	}
	q.Revision = s.t.meta.Index
	s.putUserQuota(q)
	return []string{string(q.User)}, nil
}

// dropUserQuotas removes the quotas of users that a filter picks.
func (s *State) dropUserQuotas(which func(*Quota) bool) {
	var keys []string
	s.t.userQuotas.Scan(func(k string, q *Quota) bool {
		if which(q) {
			keys = append(keys, k)
		}
		return true
	})
	for _, k := range keys {
		s.t.userQuotas.Delete(k)
	}
}

// accountUser moves what an instance takes of its user's quota from how it was to how it is; nil: not there.
func (s *State) accountUser(old, in *Instance) {
	if old != nil && in != nil && old.charged() == in.charged() {
		return
	}
	if old != nil {
		s.useUser(old, Usage{Instances: -1, Resources: Resources{}.Sub(old.charged())})
	}
	if in != nil {
		s.useUser(in, Usage{Instances: 1, Resources: in.charged()})
	}
}

// useUser adds to what an instance's user uses. A user who uses nothing has no entry.
func (s *State) useUser(in *Instance, more Usage) {
	k := key(string(in.Project), string(in.User))
	u, _ := s.t.userUsage.Get(k)
	u.Instances += more.Instances
	u.Resources = u.Add(more.Resources)
	if u == (Usage{}) {
		s.t.userUsage.Delete(k)
		return
	}
	s.t.userUsage.Set(k, u)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
