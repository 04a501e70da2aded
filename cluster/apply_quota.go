package cluster

import (
	"fmt"
	"strings"
)

func (s *State) saveQuota(o *PutQuota) ([]string, *Error) {
	q := o.Quota
	if err := firstOf(s.checkProjectIs(q.Project), checkOptionalID("User", q.User), checkLimits(q.Limits)); err != nil {
		return nil, err
	}
	if q.User != "" {
		return s.saveUserQuota(&q)
	}
	old, exists := lookup(&s.t.quotas, q.Project)
	if err := revised("Quota of project", string(q.Project), q.Revision, old.Revision, exists); err != nil {
		return nil, err
	}
	q.Revision = s.t.meta.Index
	s.t.quotas.Set(q.Project, &q)
	return []string{string(q.Project)}, nil
}

func checkLimits(limits map[QuotaName]int64) *Error {
	if err := checkAmount("The number of limits", int64(len(limits)), 0, maxLimits); err != nil {
		return err
	}
	for name, n := range limits {
		if checkID("Quota", name) != nil || n < Unlimited || n > maxAmount {
			return Errorf(Invalid, "A quota limit must have a name and be between %d and %d", Unlimited, maxAmount)
		}
	}
	return nil
}

func (s *State) deleteQuota(o *DeleteQuota) ([]string, *Error) {
	if o.User == "" {
		s.t.quotas.Delete(o.Project)
	}
	s.dropUserQuotas(func(q *Quota) bool { return q.Project == o.Project && (o.User == "" || q.User == o.User) })
	return []string{string(o.Project)}, nil
}

func (s *State) limit(p ProjectID, name QuotaName) int64 { return s.t.limit(p, name) }

func (t *tables) limit(p ProjectID, name QuotaName) int64 {
	if q, ok := t.quotas.Get(p); ok {
		if n, ok := q.Limits[name]; ok {
			return n
		}
	}
	return t.defaultLimit(name)
}

// exceeds tells whether more of something does not fit a project's limit.
func (s *State) exceeds(p ProjectID, name QuotaName, used, more int64) bool {
	limit := s.limit(p, name)
	return limit != Unlimited && used+more > limit
}

// checkNetworkQuota refuses one more of a network resource, in Neutron's words.
func (s *State) checkNetworkQuota(p ProjectID, name QuotaName, used int64) *Error {
	if s.exceeds(p, name, used, 1) {
		return Errorf(OverQuota, "Quota exceeded for resources: ['%s'].", name)
	}
	return nil
}

// checkComputeQuota refuses n more instances of a size that are too many for their project. With n zero, it is an instance
// that is there and grows by that much.
func (s *State) checkComputeQuota(p ProjectID, n int64, each Resources) *Error {
	u, _ := s.t.usage.Get(p)
	return overQuota(u, n, each, func(name QuotaName) int64 { return s.limit(p, name) })
}

// overQuota judges n more instances of a size, in Nova's words, which name what is over by the alphabet. With n zero, it is
// an instance that is there and grows by that much.
func overQuota(u Usage, n int64, each Resources, limit func(QuotaName) int64) *Error {
	times := max(n, 1)
	var over, asked, used, allowed []string
	for _, l := range []struct {
		name       QuotaName
		used, more int64
	}{
		{QuotaCores, u.VCPUs, times * each.VCPUs},
		{QuotaInstances, u.Instances, n},
		{QuotaRAM, u.MemoryMiB, times * each.MemoryMiB},
	} {
		if most := limit(l.name); most != Unlimited && l.used+l.more > most {
			over = append(over, string(l.name))
			asked = append(asked, fmt.Sprint(l.more))
			used = append(used, fmt.Sprint(l.used))
			allowed = append(allowed, fmt.Sprint(most))
		}
	}
	if len(over) == 0 {
		return nil
	}
	list := func(x []string) string { return strings.Join(x, ", ") }
	return Errorf(OverQuota, "Quota exceeded for %s: Requested %s, but already used %s of %s %s",
		list(over), list(asked), list(used), list(allowed), list(over))
}
