package compute_test

import (
	"fmt"
	"testing"
	"time"
)

// Nobody audits usage, as in a Nova that was not told to. The answer says so of each node, for the last month that was over, to administrators.
func TestUsageAudit_SaysThatNoNodeDid(t *testing.T) {
	l := newLab(t)
	l.addNode("node-2", "127.0.0.2")
	const path = "/os-instance_usage_audit_log"
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	said := func(name, begin, end string) string {
		return fmt.Sprintf(`{"%s":{"period_beginning":"%s 00:00:00","period_ending":"%s 00:00:00","num_hosts":2,"num_hosts_done":0,"num_hosts_running":0,`+
			`"num_hosts_not_run":2,"hosts_not_run":["node-1","node-2"],"total_instances":0,"total_errors":0,"overall_status":"0 of 2 hosts done. 0 errors.","log":{}}}`,
			name, begin, end)
	}
	if got, want := string(l.do("admin", "", "GET", path, nil).want(200).body),
		said("instance_usage_audit_logs", month.AddDate(0, -1, 0).Format(time.DateOnly), month.Format(time.DateOnly)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for before, period := range map[string][2]string{
		"2026-03-15%2012:00:00":        {"2026-02-01", "2026-03-01"},
		"2026-01-01%2000:00:00":        {"2025-11-01", "2025-12-01"}, // December is not over before it ends
		"2026-01-01%2000:00:00.000001": {"2025-12-01", "2026-01-01"},
	} {
		if got, want := string(l.do("admin", "2.92", "GET", path+"/"+before, nil).want(200).body), said("instance_usage_audit_log", period[0], period[1]); got != want {
			t.Errorf("before %s: got  %s\nwant %s", before, got, want)
		}
	}
	l.do("admin", "", "GET", path+"/invalid_time", nil).fails(400, "Invalid timestamp for date invalid_time")
	l.do("demo", "", "GET", path, nil).fails(403, "os-instance-usage-audit-log:list")
	l.do("demo", "", "GET", path+"/x", nil).fails(403, "os-instance-usage-audit-log:show")
}
