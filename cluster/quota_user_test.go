package cluster

import "testing"

// A user may use less than the project, and is told so in the same words.
func TestCreateInstances_QuotaOfTheUser(t *testing.T) {
	w := newTown(t)
	w.do(&PutQuota{Quota: Quota{Project: home, User: root, Limits: map[QuotaName]int64{QuotaInstances: 1}}})
	w.do(create("a", first))
	if u := w.s.View().UserUsage(home, root); u.Instances != 1 || u.VCPUs != 2 {
		t.Errorf("the user uses %+v", u)
	}
	w.refuse(create("b", first), OverQuota, "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances")
	if n := w.s.View().UserLimit(home, root, QuotaCores); n != w.s.View().Limit(home, QuotaCores) {
		t.Errorf("a limit that was not set for the user is %d", n)
	}
	w.refuse(&PutQuota{Quota: Quota{Project: home, User: "nobody"}}, NotFound, "Could not find user: nobody.")
	w.refuse(&PutQuota{Quota: Quota{Project: home, User: root}}, Conflict, "exists already")
	q, _ := w.s.View().UserQuota(home, root)
	w.do(&PutQuota{Quota: Quota{Project: home, User: root, Revision: q.Revision, Limits: map[QuotaName]int64{QuotaInstances: -1}}})
	w.do(create("b", first))
	w.do(&DeleteQuota{Project: home})
	if _, ok := w.s.View().UserQuota(home, root); ok {
		t.Error("the user's quota outlived that of the project")
	}
}

// A user may give a server fewer items of metadata than others of the project. What a server has stays when less is allowed.
func TestCreateInstances_MetadataQuotaOfTheUser(t *testing.T) {
	w := newTown(t)
	w.do(&PutQuota{Quota: Quota{Project: home, User: root, Limits: map[QuotaName]int64{QuotaMetadataItems: 1}}})
	two := create("a", first)
	two.Spec.Metadata = map[string]string{"k": "v", "l": "w"}
	w.refuse(two, OverQuota, "Maximum number of metadata items exceeds 1")
	two.Spec.Metadata = map[string]string{"k": "v"}
	w.do(two)
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaMetadataItems: 0}}})
	name, more := "b", map[string]string{"k": "v", "l": "w"}
	w.do(&UpdateInstance{ID: "a", Name: &name})
	w.refuse(&UpdateInstance{ID: "a", Metadata: &more}, OverQuota, "Maximum number of metadata items exceeds 0")
}

// The quota class "default" is what projects have that have nothing of their own.
func TestPutQuotaClass_ChangesTheDefaults(t *testing.T) {
	w := newTown(t)
	w.do(&PutQuotaClass{Class: QuotaClass{Name: DefaultQuotaClass, Limits: map[QuotaName]int64{QuotaInstances: 1, QuotaCores: -1}}})
	w.do(&PutQuotaClass{Class: QuotaClass{Name: "gold", Limits: map[QuotaName]int64{QuotaInstances: 100}}})
	if v := w.s.View(); v.Limit(home, QuotaInstances) != 1 || v.DefaultLimit(QuotaCores) != Unlimited || v.DefaultLimit(QuotaRAM) != DefaultQuota[QuotaRAM] {
		t.Error("the defaults are not those of the class")
	}
	w.do(create("a", first))
	w.refuse(create("b", first), OverQuota, "Quota exceeded for instances")
	w.refuse(&PutQuotaClass{Class: QuotaClass{Name: DefaultQuotaClass, Limits: map[QuotaName]int64{QuotaInstances: -2}}}, Invalid, "quota limit")
	w.refuse(&PutQuotaClass{Class: QuotaClass{Name: DefaultQuotaClass}}, Conflict, "exists already")
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaInstances: 2}}})
	w.do(create("b", first))
}
