package compute

import "net/http"

const (
	get   = http.MethodGet
	post  = http.MethodPost
	put   = http.MethodPut
	del   = http.MethodDelete
	never = version(0)
)

// routes is every path of the API below /v2.1. Their rules are those of Nova's policies; who may, by default, is what
// current Nova says.
func routes() []route {
	var all []route
	for _, some := range [][]route{serverRoutes, serverPartRoutes, imageRoutes, flavorRoutes, keyPairRoutes, nodeRoutes, projectRoutes, otherRoutes} {
		all = append(all, some...)
	}
	return all
}

var serverRoutes = []route{
	{get, "/servers", "servers:index", reader, 0, never, func(c *call) error { return c.listServers(false) }},
	{get, "/servers/detail", "servers:detail", reader, 0, never, func(c *call) error { return c.listServers(true) }},
	{post, "/servers", "servers:create", member, 0, never, (*call).createServer},
	{get, "/servers/{server}", "servers:show", reader, 0, never, (*call).showServer},
	{put, "/servers/{server}", "servers:update", member, 0, never, (*call).updateServer},
	{del, "/servers/{server}", "servers:delete", member, 0, never, (*call).deleteServer},
	{post, "/servers/{server}/action", "servers:show", reader, 0, never, (*call).actOnServer},
	{get, "/servers/{server}/os-instance-actions", "os-instance-actions:list", reader, 0, never, (*call).listActions},
	{get, "/servers/{server}/os-instance-actions/{request}", "os-instance-actions:show", reader, 0, never, (*call).showAction},
	{post, "/servers/{server}/remote-consoles", "os-remote-consoles", member, 6, never, (*call).createRemoteConsole},
	{get, "/servers/{server}/diagnostics", "os-server-diagnostics", admin, 0, never, (*call).showDiagnostics},
	{get, "/servers/{server}/topology", "compute:server:topology:index", reader, 78, never, (*call).showTopology},
}

var serverPartRoutes = []route{
	{get, "/servers/{server}/metadata", "server-metadata:index", reader, 0, never, (*call).listMetadata},
	{post, "/servers/{server}/metadata", "server-metadata:create", member, 0, never, func(c *call) error { return c.setMetadata(false) }},
	{put, "/servers/{server}/metadata", "server-metadata:update_all", member, 0, never, func(c *call) error { return c.setMetadata(true) }},
	{get, "/servers/{server}/metadata/{key}", "server-metadata:show", reader, 0, never, (*call).showMetadata},
	{put, "/servers/{server}/metadata/{key}", "server-metadata:update", member, 0, never, (*call).setOneMetadata},
	{del, "/servers/{server}/metadata/{key}", "server-metadata:delete", member, 0, never, (*call).deleteMetadata},
	{get, "/servers/{server}/tags", "os-server-tags:index", reader, 26, never, (*call).listTags},
	{put, "/servers/{server}/tags", "os-server-tags:update_all", member, 26, never, (*call).replaceTags},
	{del, "/servers/{server}/tags", "os-server-tags:delete_all", member, 26, never, (*call).clearTags},
	{get, "/servers/{server}/tags/{tag}", "os-server-tags:show", reader, 26, never, (*call).showTag},
	{put, "/servers/{server}/tags/{tag}", "os-server-tags:update", member, 26, never, (*call).addTag},
	{del, "/servers/{server}/tags/{tag}", "os-server-tags:delete", member, 26, never, (*call).deleteTag},
	{get, "/servers/{server}/ips", "ips:index", reader, 0, never, (*call).listAddresses},
	{get, "/servers/{server}/ips/{network}", "ips:show", reader, 0, never, (*call).showAddresses},
	{get, "/servers/{server}/os-interface", "os-attach-interfaces:list", reader, 0, never, (*call).listInterfaces},
	{post, "/servers/{server}/os-interface", "os-attach-interfaces:create", member, 0, never, (*call).attachInterface},
	{get, "/servers/{server}/os-interface/{port}", "os-attach-interfaces:show", reader, 0, never, (*call).showInterface},
	{del, "/servers/{server}/os-interface/{port}", "os-attach-interfaces:delete", member, 0, never, (*call).detachInterface},
	{get, "/servers/{server}/os-security-groups", "os-security-groups:list", reader, 0, never, (*call).listGroups},
	{get, "/servers/{server}/os-volume_attachments", "os-volumes-attachments:index", reader, 0, never, (*call).listAttachments},
	{post, "/servers/{server}/os-volume_attachments", "os-volumes-attachments:create", member, 0, never, (*call).attachVolume},
	{get, "/servers/{server}/os-volume_attachments/{volume}", "os-volumes-attachments:show", reader, 0, never, (*call).showAttachment},
	{put, "/servers/{server}/os-volume_attachments/{volume}", "os-volumes-attachments:update", member, 0, never, (*call).updateAttachment},
	{del, "/servers/{server}/os-volume_attachments/{volume}", "os-volumes-attachments:delete", member, 0, never, (*call).detachVolume},
	{get, "/servers/{server}/os-server-password", "os-server-password:show", reader, 0, never, (*call).showPassword},
	{del, "/servers/{server}/os-server-password", "os-server-password:clear", member, 0, never, (*call).clearPassword},
	{get, "/servers/{server}/migrations", "servers:migrations:index", admin, 23, never, (*call).listServerMigrations},
	{get, "/servers/{server}/migrations/{migration}", "servers:migrations:show", admin, 23, never, (*call).showServerMigration},
	{del, "/servers/{server}/migrations/{migration}", "servers:migrations:delete", admin, 24, never, (*call).abortMigration},
	{post, "/servers/{server}/migrations/{migration}/action", "servers:migrations:force_complete", admin, 22, never, (*call).actOnMigration},
}

var flavorRoutes = []route{
	{get, "/flavors", "flavors:index", anyone, 0, never, func(c *call) error { return c.listFlavors(false) }},
	{get, "/flavors/detail", "flavors:detail", anyone, 0, never, func(c *call) error { return c.listFlavors(true) }},
	{post, "/flavors", "os-flavor-manage:create", admin, 0, never, (*call).createFlavor},
	{get, "/flavors/{flavor}", "flavors:show", anyone, 0, never, (*call).showFlavor},
	{put, "/flavors/{flavor}", "os-flavor-manage:update", admin, 55, never, (*call).updateFlavor},
	{del, "/flavors/{flavor}", "os-flavor-manage:delete", admin, 0, never, (*call).deleteFlavor},
	{post, "/flavors/{flavor}/action", "os-flavor-access:add_tenant_access", admin, 0, never, (*call).actOnFlavor},
	{get, "/flavors/{flavor}/os-flavor-access", "os-flavor-access", admin, 0, never, (*call).listFlavorAccess},
	{get, "/flavors/{flavor}/os-extra_specs", "os-flavor-extra-specs:index", reader, 0, never, (*call).listExtraSpecs},
	{post, "/flavors/{flavor}/os-extra_specs", "os-flavor-extra-specs:create", admin, 0, never, (*call).addExtraSpecs},
	{get, "/flavors/{flavor}/os-extra_specs/{key}", "os-flavor-extra-specs:show", reader, 0, never, (*call).showExtraSpec},
	{put, "/flavors/{flavor}/os-extra_specs/{key}", "os-flavor-extra-specs:update", admin, 0, never, (*call).setExtraSpec},
	{del, "/flavors/{flavor}/os-extra_specs/{key}", "os-flavor-extra-specs:delete", admin, 0, never, (*call).deleteExtraSpec},
}

var keyPairRoutes = []route{
	{get, "/os-keypairs", "os-keypairs:index", anyone, 0, never, (*call).listKeyPairs},
	{post, "/os-keypairs", "os-keypairs:create", anyone, 0, never, (*call).createKeyPair},
	{get, "/os-keypairs/{name}", "os-keypairs:show", anyone, 0, never, (*call).showKeyPair},
	{del, "/os-keypairs/{name}", "os-keypairs:delete", anyone, 0, never, (*call).deleteKeyPair},
}

var nodeRoutes = []route{
	{get, "/os-hypervisors", "os-hypervisors:list", admin, 0, never, func(c *call) error { return c.listHypervisors(false) }},
	{get, "/os-hypervisors/detail", "os-hypervisors:list-detail", admin, 0, never, func(c *call) error { return c.listHypervisors(true) }},
	{get, "/os-hypervisors/statistics", "os-hypervisors:statistics", admin, 0, 87, (*call).showStatistics},
	{get, "/os-hypervisors/{hypervisor}", "os-hypervisors:show", admin, 0, never, (*call).showHypervisor},
	{get, "/os-hypervisors/{hypervisor}/uptime", "os-hypervisors:uptime", admin, 0, 87, (*call).showUptime},
	{get, "/os-hypervisors/{hypervisor}/search", "os-hypervisors:search", admin, 0, uuidIDs - 1, func(c *call) error { return c.searchHypervisors(false) }},
	{get, "/os-hypervisors/{hypervisor}/servers", "os-hypervisors:servers", admin, 0, uuidIDs - 1, func(c *call) error { return c.searchHypervisors(true) }},
	{get, "/os-services", "os-services:list", admin, 0, never, (*call).listServices},
	{put, "/os-services/{service}", "os-services:update", admin, 0, never, (*call).updateService},
	{del, "/os-services/{service}", "os-services:delete", admin, 0, never, (*call).deleteService},
	{get, "/os-availability-zone", "os-availability-zone:list", anyone, 0, never, func(c *call) error { return c.listZones(false) }},
	{get, "/os-availability-zone/detail", "os-availability-zone:detail", admin, 0, never, func(c *call) error { return c.listZones(true) }},
	{get, "/os-hosts", "os-hosts:list", admin, 0, 42, (*call).listHosts},
	{get, "/os-hosts/{host}", "os-hosts:show", admin, 0, 42, (*call).showHost},
	{get, "/os-aggregates", "os-aggregates:index", admin, 0, never, (*call).listAggregates},
	{post, "/os-aggregates", "os-aggregates:create", admin, 0, never, (*call).createAggregate},
	{get, "/os-aggregates/{aggregate}", "os-aggregates:show", admin, 0, never, (*call).showAggregate},
	{put, "/os-aggregates/{aggregate}", "os-aggregates:update", admin, 0, never, (*call).updateAggregate},
	{del, "/os-aggregates/{aggregate}", "os-aggregates:delete", admin, 0, never, (*call).deleteAggregate},
	{post, "/os-aggregates/{aggregate}/action", "os-aggregates", anyone, 0, never, (*call).actOnAggregate},
	{post, "/os-aggregates/{aggregate}/images", "compute:aggregates:images", admin, 81, never, (*call).cacheImages},
}

var projectRoutes = []route{
	{get, "/limits", "limits", anyone, 0, never, (*call).showLimits},
	{get, "/os-quota-sets/{project}", "os-quota-sets:show", reader, 0, never, (*call).showQuotas},
	{get, "/os-quota-sets/{project}/defaults", "os-quota-sets:defaults", anyone, 0, never, (*call).showQuotaDefaults},
	{get, "/os-quota-sets/{project}/detail", "os-quota-sets:detail", reader, 0, never, (*call).showQuotaDetail},
	{put, "/os-quota-sets/{project}", "os-quota-sets:update", admin, 0, never, (*call).updateQuotas},
	{del, "/os-quota-sets/{project}", "os-quota-sets:delete", admin, 0, never, (*call).deleteQuotas},
	{get, "/os-quota-class-sets/{class}", "os-quota-class-sets:show", admin, 0, never, (*call).showQuotaClass},
	{put, "/os-quota-class-sets/{class}", "os-quota-class-sets:update", admin, 0, never, (*call).updateQuotaClass},
	{get, "/os-simple-tenant-usage", "os-simple-tenant-usage:list", admin, 0, never, (*call).listUsage},
	{get, "/os-simple-tenant-usage/{project}", "os-simple-tenant-usage:show", reader, 0, never, (*call).showUsage},
	{get, "/os-instance_usage_audit_log", "os-instance-usage-audit-log:list", admin, 0, never, (*call).listUsageAudits},
	{get, "/os-instance_usage_audit_log/{before}", "os-instance-usage-audit-log:show", admin, 0, never, (*call).showUsageAudit},
}

var otherRoutes = []route{
	{get, "/extensions", "extensions", anyone, 0, never, (*call).listExtensions},
	{get, "/extensions/{alias}", "extensions", anyone, 0, never, (*call).showExtension},
	{get, "/os-console-auth-tokens/{token}", "os-console-auth-tokens", admin, 0, never, (*call).showConsoleToken},
	{post, "/os-server-external-events", "os-server-external-events:create", admin, 0, never, (*call).takeEvents},
	{get, "/os-server-groups", "os-server-groups:index", reader, 0, never, (*call).listServerGroups},
	{post, "/os-server-groups", "os-server-groups:create", member, 0, never, (*call).createServerGroup},
	{get, "/os-server-groups/{group}", "os-server-groups:show", reader, 0, never, (*call).showServerGroup},
	{del, "/os-server-groups/{group}", "os-server-groups:delete", member, 0, never, (*call).deleteServerGroup},
	{get, "/os-migrations", "os-migrations:index", admin, 0, never, (*call).listMigrations},
}
