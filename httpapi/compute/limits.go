package compute

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
)

// showLimits is what a project may use and what it uses.
func (c *call) showLimits() error {
	if err := c.checkQuery("reserved", "tenant_id"); err != nil {
		return err
	}
	p := c.caller.ProjectID()
	if id := c.r.URL.Query().Get("tenant_id"); id != "" && id != string(p) {
		if err := c.allow("limits:other_project", admin); err != nil {
			return err
		}
		p = cluster.ProjectID(id)
	}
	var j writer
	j.open('{').key("limits").open('{').key("rate").open('[').close(']').key("absolute").open('{')
	limit := func(name string, of cluster.QuotaName, until version) {
		if c.served(0, until) {
			j.fieldNum(name, c.view.Limit(p, of))
		}
	}
	fixed := func(name string, n int64, until version) {
		if c.served(0, until) {
			j.fieldNum(name, n)
		}
	}
	limit("maxTotalInstances", cluster.QuotaInstances, 0)
	limit("maxTotalCores", cluster.QuotaCores, 0)
	limit("maxTotalRAMSize", cluster.QuotaRAM, 0)
	limit("maxServerMeta", cluster.QuotaMetadataItems, 0)
	limit("maxImageMeta", cluster.QuotaMetadataItems, 38)
	fixed("maxPersonality", 5, 56)
	fixed("maxPersonalitySize", 10240, 56)
	limit("maxTotalKeypairs", cluster.QuotaKeyPairs, 0)
	limit("maxServerGroups", cluster.QuotaServerGroups, 0)
	limit("maxServerGroupMembers", cluster.QuotaServerGroupMembers, 0)
	fixed("maxTotalFloatingIps", cluster.Unlimited, 35)
	fixed("maxSecurityGroups", cluster.Unlimited, 35)
	fixed("maxSecurityGroupRules", cluster.Unlimited, 35)
	used := c.view.Usage(p)
	j.fieldNum("totalRAMUsed", used.MemoryMiB).fieldNum("totalCoresUsed", used.VCPUs).fieldNum("totalInstancesUsed", used.Instances)
	fixed("totalFloatingIpsUsed", 0, 35)
	fixed("totalSecurityGroupsUsed", 0, 35)
	groups, _ := c.view.ServerGroupCount(p, "")
	j.fieldNum("totalServerGroupsUsed", groups)
	j.close('}').close('}').close('}')
	return c.send(http.StatusOK, &j)
}
