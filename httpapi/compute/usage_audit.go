package compute

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Nova's compute services may write down, once in each period, what their servers used: instance_usage_audit. Nodes here do not, which is how Nova
// is, too, unless it is told to. The answers are those of such a cloud: no host has done it for the last complete month (OpenStack Compute API reference,
// os-instance_usage_audit_log).

// auditTime is how Nova's clients and Nova itself write times here: UTC, with a fraction or without.
const auditTime = time.DateTime

func (c *call) listUsageAudits() error {
	return c.sendUsageAudit("instance_usage_audit_logs", c.Now())
}

func (c *call) showUsageAudit() error {
	before, err := time.Parse(auditTime, c.param("before"))
	if err != nil {
		return bad("Invalid timestamp for date %s", c.param("before"))
	}
	return c.sendUsageAudit("instance_usage_audit_log", before)
}

func (c *call) sendUsageAudit(name string, before time.Time) error {
	begin, end := lastMonth(before)
	hosts := []string{}
	for n := range c.view.Hypervisors() {
		hosts = append(hosts, n.Name)
	}
	slices.Sort(hosts)
	n := int64(len(hosts))
	status := "ALL"
	if n > 0 {
		status = fmt.Sprintf("0 of %d", n)
	}
	var j writer
	j.open('{').key(name).open('{').field("period_beginning", begin.Format(auditTime)).field("period_ending", end.Format(auditTime))
	j.fieldNum("num_hosts", n).fieldNum("num_hosts_done", 0).fieldNum("num_hosts_running", 0).fieldNum("num_hosts_not_run", n)
	j.key("hosts_not_run").strings(hosts).fieldNum("total_instances", 0).fieldNum("total_errors", 0)
	j.field("overall_status", status+" hosts done. 0 errors.").key("log").open('{').close('}')
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}

// lastMonth is the last month that was over before a time.
func lastMonth(before time.Time) (begin, end time.Time) {
	before = before.UTC()
	end = time.Date(before.Year(), before.Month(), 1, 0, 0, 0, 0, time.UTC)
	if !end.Before(before) {
		end = end.AddDate(0, -1, 0)
	}
	return end.AddDate(0, -1, 0), end
}
