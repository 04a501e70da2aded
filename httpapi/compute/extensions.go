package compute

import "net/http"

// extensions are the aliases of what is served here, as Nova names it. All of it is always there; clients only look for
// names.
var extensions = []struct{ alias, name, description string }{
	{"OS-DCF", "DiskConfig", "Disk Management Extension."},
	{"OS-EXT-AZ", "ExtendedAvailabilityZone", "Extended Availability Zone support."},
	{"OS-EXT-IPS", "ExtendedIps", "Adds type parameter to the ip list."},
	{"OS-EXT-IPS-MAC", "ExtendedIpsMac", "Adds mac address parameter to the ip list."},
	{"OS-EXT-SRV-ATTR", "ExtendedServerAttributes", "Extended Server Attributes support."},
	{"OS-EXT-STS", "ExtendedStatus", "Extended Status support."},
	{"OS-FLV-DISABLED", "FlavorDisabled", "Support to show the disabled status of a flavor."},
	{"OS-FLV-EXT-DATA", "FlavorExtraData", "Provide additional data for flavors."},
	{"OS-SCH-HNT", "SchedulerHints", "Pass arbitrary key/value pairs to the scheduler."},
	{"OS-SRV-USG", "ServerUsage", "Adds launched_at and terminated_at on Servers."},
	{"os-access-ips", "AccessIPs", "Access IPs support."},
	{"os-availability-zone", "AvailabilityZone", "Add availability_zone to the Create Server API and list zones."},
	{"os-config-drive", "ConfigDrive", "Config Drive Extension."},
	{"os-console-output", "ConsoleOutput", "Console log output support, with tailing ability."},
	{"os-consoles", "Consoles", "Interactive Console support."},
	{"os-create-backup", "CreateBackup", "Create a backup of a server."},
	{"os-extended-hypervisors", "ExtendedHypervisors", "Extended hypervisors support."},
	{"os-evacuate", "Evacuate", "Enables server evacuation."},
	{"os-extended-quotas", "ExtendedQuotas", "Adds ability for admins to delete quota and optionally force the update."},
	{"os-extended-services", "ExtendedServices", "Extended services support."},
	{"os-extended-status", "ExtendedStatus", "Extended Status support."},
	{"os-flavor-access", "FlavorAccess", "Flavor access support."},
	{"os-flavor-extra-specs", "FlavorExtraSpecs", "Flavors extra specs support."},
	{"os-flavor-manage", "FlavorManage", "Flavor create/delete API support."},
	{"os-flavor-rxtx", "FlavorRxtx", "Support to show the rxtx status of a flavor."},
	{"os-flavor-swap", "FlavorSwap", "Support to show the swap status of a flavor."},
	{"os-hosts", "Hosts", "Admin-only host administration."},
	{"os-hypervisor-status", "HypervisorStatus", "Show hypervisor status."},
	{"os-hypervisors", "Hypervisors", "Admin-only hypervisor administration."},
	{"os-instance-actions", "InstanceActions", "View a log of actions and events taken on an instance."},
	{"os-keypairs", "Keypairs", "Keypair Support."},
	{"os-lock-server", "LockServer", "Enable lock/unlock server actions."},
	{"os-migrate-server", "MigrateServer", "Enable migrate and live-migrate server actions."},
	{"os-migrations", "Migrations", "Provide data on migrations."},
	{"os-multiple-create", "MultipleCreate", "Allow multiple create in the Create Server v2.1 API."},
	{"os-pause-server", "PauseServer", "Enable pause/unpause server actions."},
	{"os-quota-class-sets", "QuotaClasses", "Quota classes management support."},
	{"os-quota-sets", "Quotas", "Quotas management support."},
	{"os-rescue", "Rescue", "Instance rescue mode."},
	{"os-server-list-multi-status", "ServerListMultiStatus", "Allow to filter the servers by a set of status values."},
	{"os-server-sort-keys", "ServerSortKeys", "Add sorting support in get Server v2 API."},
	{"os-server-start-stop", "ServerStartStop", "Start/Stop instance compute API support."},
	{"os-services", "Services", "Services support."},
	{"os-shelve", "Shelve", "Instance shelve mode."},
	{"os-simple-tenant-usage", "SimpleTenantUsage", "Simple tenant usage extension."},
	{"os-suspend-server", "SuspendServer", "Enable suspend/resume server actions."},
	{"os-used-limits", "UsedLimits", "Provide data on limited resources that are being used."},
	{"os-user-data", "UserData", "Add user_data to the Create Server API."},
}

func (c *call) listExtensions() error {
	var j writer
	j.open('{').key("extensions").open('[')
	for i := range extensions {
		c.writeExtension(&j, i)
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showExtension() error {
	for i, e := range extensions {
		if e.alias == c.param("alias") {
			var j writer
			j.open('{').key("extension")
			c.writeExtension(&j, i)
			j.close('}')
			return c.send(http.StatusOK, &j)
		}
	}
	return errNoResource
}

func (c *call) writeExtension(j *writer, i int) {
	e := extensions[i]
	j.open('{').field("alias", e.alias).field("description", e.description).key("links").open('[').close(']').field("name", e.name)
	j.field("namespace", "http://docs.openstack.org/compute/ext/fake_xml").field("updated", "2014-12-03T00:00:00Z").close('}')
}
