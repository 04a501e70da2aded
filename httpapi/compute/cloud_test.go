package compute_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// Nodes are hypervisors, services and hosts in Nova's world, known by integers first and by UUIDs later.
func TestNodes_LookAsNovaShowsThem(t *testing.T) {
	l := newLab(t)
	l.server("demo", "s", nil)
	l.golden("431-hypervisor-list", l.do("admin", "", "GET", "/os-hypervisors/detail", nil))
	// The lab's node has no CPU flags, so the list of them is empty.
	l.golden("432-hypervisor-list-long-mv2.87", l.do("admin", "2.87", "GET", "/os-hypervisors/detail", nil), "/hypervisors/*/cpu_info")
	l.golden("433-hypervisor-list-mv2.92", l.do("admin", "2.92", "GET", "/os-hypervisors/detail", nil))
	l.golden("482-novacli-hypervisor-list", l.do("admin", "2.92", "GET", "/os-hypervisors", nil))
	l.golden("434-hypervisor-show#2", l.do("admin", "", "GET", "/os-hypervisors/fake1", nil))
	l.golden("435-hypervisor-show-mv2.92#2", l.do("admin", "2.92", "GET", "/os-hypervisors/fake1", nil))
	l.golden("435-hypervisor-show-mv2.92#5", l.do("admin", "2.92", "GET", "/os-hypervisors/"+string(l.Node.ID), nil))
	l.golden("750-raw-os-hypervisors-statistics-mv2.1", l.do("admin", "", "GET", "/os-hypervisors/statistics", nil))
	l.do("admin", "2.88", "GET", "/os-hypervisors/statistics", nil).want(http.StatusNotFound)
	l.golden("455-host-list", l.do("admin", "", "GET", "/os-hosts", nil))
	l.golden("456-host-show", l.do("admin", "", "GET", "/os-hosts/node-1", nil))

	h := l.do("admin", "2.53", "GET", "/os-hypervisors/detail?with_servers=true&hypervisor_hostname_pattern=node", nil).want(200)
	if h.count("hypervisors", 0, "servers") != 1 || h.at("hypervisors", 0, "running_vms") != 1.0 || h.at("hypervisors", 0, "memory_mb_used") != 64.0 {
		t.Errorf("%s", h.body)
	}
	l.do("admin", "2.53", "GET", "/os-hypervisors?hypervisor_hostname_pattern=x", nil).fails(404, "No hypervisor matching 'x' could be found.")
	l.do("admin", "", "GET", "/os-hypervisors/node/servers", nil).want(200)
	l.do("admin", "", "GET", "/os-hypervisors/x/search", nil).fails(404, "No hypervisor matching 'x' could be found.")
	up := l.do("admin", "", "GET", "/os-hypervisors/1/uptime", nil).want(200)
	if got := up.text("hypervisor", "uptime"); !strings.HasSuffix(got, " up 1 days,  2:00") {
		t.Errorf("uptime is %q", got)
	}
	l.down = true
	l.do("admin", "", "GET", "/os-hypervisors/1/uptime", nil).fails(400, "Compute service of node-1 is unavailable at this time.")
	if got := l.do("admin", "", "GET", "/os-hypervisors", nil).text("hypervisors", 0, "state"); got != "down" {
		t.Errorf("state is %s", got)
	}
	for _, path := range []string{"/os-hypervisors", "/os-services", "/os-hosts", "/os-availability-zone/detail", "/os-aggregates", "/os-migrations"} {
		l.do("demo", "", "GET", path, nil).fails(403, "Policy doesn't allow os_compute_api:"+strings.Split(path[1:], "/")[0])
	}
}

// A service is disabled, enabled and forced down, under both kinds of ID.
func TestServices_AreDisabledAndForcedDown(t *testing.T) {
	l := newLab(t)
	l.golden("749-raw-os-services-mv2.1", l.do("admin", "", "GET", "/os-services", nil))
	l.golden("438-compute-service-list", l.do("admin", "2.69", "GET", "/os-services", nil))
	path := "/os-services/" + string(l.Node.ID)
	l.golden("440-compute-service-set-disable", l.do("admin", "2.69", "PUT", path, object{"status": "disabled", "disabled_reason": "maint"}))
	if n, _ := l.Local().Node(l.Node.ID); !n.Service.Disabled || n.Service.Reason != "maint" {
		t.Errorf("%+v", n.Service)
	}
	l.do("demo", "2.79", "POST", "/servers", l.request("x", object{"availability_zone": "nova"})).fails(400, "availability zone is not available")
	l.do("admin", "2.69", "PUT", path, object{"status": "enabled"}).want(200)
	l.do("admin", "2.69", "PUT", path, object{"forced_down": true}).want(200)
	if got := l.do("admin", "2.69", "GET", "/os-services?host=node-1&binary=nova-compute", nil).text("services", 0, "state"); got != "down" {
		t.Errorf("state is %s", got)
	}
	l.do("admin", "2.69", "PUT", path, object{}).fails(400, "No updates were requested.")
	l.do("admin", "2.69", "PUT", path, object{"status": "enabled", "disabled_reason": "x"}).fails(400, "disabled_reason")
	l.do("admin", "2.69", "PUT", "/os-services/"+nobody, object{"status": "enabled"}).fails(404, "Service "+nobody+" not found.")
	l.do("admin", "2.69", "PUT", "/os-services/x", object{"status": "enabled"}).fails(400, "Invalid uuid x")
	l.do("admin", "", "PUT", "/os-services/disable-log-reason", object{"host": "node-1", "binary": "nova-compute", "disabled_reason": "r"}).want(200)
	a := l.do("admin", "", "PUT", "/os-services/enable", object{"host": "node-1", "binary": "nova-compute"}).want(200)
	if string(a.body) != `{"service":{"host":"node-1","binary":"nova-compute","status":"enabled"}}` {
		t.Errorf("%s", a.body)
	}
	l.do("admin", "2.11", "PUT", "/os-services/force-down", object{"host": "node-1", "binary": "nova-compute", "forced_down": false}).want(200)
	l.do("admin", "", "PUT", "/os-services/enable", object{"host": "x", "binary": "nova-compute"}).fails(404, "Could not find binary nova-compute on host x.")
	l.do("admin", "", "PUT", "/os-services/fly", object{"host": "x", "binary": "nova-compute"}).fails(404, "Unknown action")
	l.do("admin", "2.53", "DELETE", path, nil).fails(501, "kilonova node remove")
	if n := l.do("admin", "", "GET", "/os-services?binary=nova-scheduler", nil).count("services"); n != 0 {
		t.Errorf("%d schedulers", n)
	}
}

// Zones are seen by everybody, what is in them by administrators.
func TestZonesAndLists_LookAsNovaShowsThem(t *testing.T) {
	l := newLab(t)
	// The recorded hosts have other names.
	l.golden("444-availability-zone-list", l.do("admin", "", "GET", "/os-availability-zone/detail", nil), "/availabilityZoneInfo/*/hosts")
	l.golden("447-availability-zone-list-demo#2", l.do("demo", "", "GET", "/os-availability-zone/detail", nil))
	l.golden("447-availability-zone-list-demo#3", l.do("demo", "", "GET", "/os-availability-zone", nil))
	l.golden("449-aggregate-add-host#3", l.do("admin", "2.81", "GET", "/os-aggregates/labagg", nil))
	l.golden("450-aggregate-list", l.do("admin", "2.81", "GET", "/os-aggregates", nil))
	l.golden("470-extension-list-compute#2", l.do("demo", "", "GET", "/extensions", nil))
	l.do("demo", "", "GET", "/extensions/os-keypairs", nil).want(200)
	l.golden("753-raw-server-groups-list-mv2.1", l.do("demo", "", "GET", "/os-server-groups", nil))
	l.do("demo", "", "GET", "/os-server-groups/x", nil).fails(404, "Instance group x could not be found.")
	l.do("admin", "", "GET", "/os-migrations", nil).want(200)
}

// Quotas are shown to the project and set by administrators.
func TestQuotas_AreShownAndSet(t *testing.T) {
	l := newLab(t)
	demo := "/os-quota-sets/" + string(l.Projs["demo"])
	l.golden("458-quota-show-all#2", l.do("demo", "", "GET", demo, nil))
	l.golden("459-quota-show-defaults#2", l.do("demo", "", "GET", demo+"/defaults", nil))
	l.golden("460-quota-set#4", l.do("admin", "", "PUT", demo, object{"quota_set": object{"instances": 12, "fixed_ips": -1}}))
	l.golden("462-quota-detail", l.do("demo", "", "GET", demo+"/detail", nil))
	if got := l.do("demo", "", "GET", demo, nil).at("quota_set", "instances"); got != 12.0 {
		t.Errorf("instances: %v", got)
	}
	if got := string(l.do("demo", "2.57", "GET", demo, nil).body); strings.Contains(got, "injected") || strings.Contains(got, "fixed_ips") {
		t.Errorf("2.57 shows %s", got)
	}
	l.create("demo", "s", nil)
	l.do("admin", "", "PUT", demo, object{"quota_set": object{"instances": 0}}).fails(400, "must be greater than or equal to already used and reserved 1.")
	l.do("admin", "", "PUT", demo, object{"quota_set": object{"instances": "0", "force": "True"}}).want(200)
	l.do("demo", "2.79", "POST", "/servers", l.request("x", nil)).fails(403, "Quota exceeded for instances: Requested 1, but already used 1 of 0 instances")
	l.do("admin", "", "DELETE", demo, nil).want(202)
	if got := l.do("demo", "", "GET", demo, nil).at("quota_set", "instances"); got != 10.0 {
		t.Errorf("instances: %v", got)
	}
	l.do("admin", "", "PUT", demo, object{"quota_set": object{"instances": "many"}}).fails(400, "does not match")
	if a := l.do("admin", "", "PUT", demo, object{"quota_set": object{"injected_files": 7}}); a.at("quota_set", "injected_files") != 7.0 {
		t.Errorf("%s", a.body)
	}
	l.do("admin", "", "PUT", demo, object{"quota_set": object{"zzz": 7}}).fails(400, "('zzz' was unexpected)")
	l.do("admin", "", "PUT", "/os-quota-sets/nobody", object{"quota_set": object{}}).fails(400, "Project ID nobody is not a valid project.")
	l.do("demo", "", "PUT", demo, object{"quota_set": object{}}).fails(403, "os_compute_api:os-quota-sets:update")
	l.do("other", "", "GET", demo, nil).fails(403, "Policy doesn't allow os_compute_api:os-quota-sets:show to be performed.")
	l.do("admin", "", "GET", "/os-quota-class-sets/default", nil).want(200)
}

// Limits are the quota and what is used of it.
func TestLimits_CountWhatIsUsed(t *testing.T) {
	l := newLab(t)
	l.create("demo", "s", nil)
	a := l.do("demo", "", "GET", "/limits", nil)
	l.golden("463-limits-show-absolute#2", a)
	if a.at("limits", "absolute", "totalRAMUsed") != 64.0 || a.at("limits", "absolute", "totalInstancesUsed") != 1.0 {
		t.Errorf("%s", a.body)
	}
	l.golden("466-limits-raw-mv2.93", l.do("demo", "2.93", "GET", "/limits", nil))
	l.do("other", "", "GET", "/limits?tenant_id="+string(l.Projs["demo"]), nil).want(403)
}

// Usage counts the hours that servers ran in a period, those that are gone too, and its pages end.
func TestUsage_CountsHours(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	gone := l.server("demo", "gone", nil)
	l.do("demo", "", "DELETE", "/servers/"+string(gone), nil).want(204)
	in, _ := l.Local().Instance(gone)
	l.Must(&cluster.ReportInstances{Node: l.Node.ID, Reports: []cluster.InstanceReport{{ID: gone, Epoch: in.Epoch, Gone: true}}})
	end := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000")
	l.golden("467-usage-list#2", l.do("admin", "", "GET", "/os-simple-tenant-usage?detailed=1&start=2026-01-01T00:00:00.000000&end="+end, nil))
	path := "/os-simple-tenant-usage/" + string(l.Projs["demo"])
	a := l.do("demo", "", "GET", path+"?start=2026-01-01T00:00:00&end="+end, nil)
	l.golden("468-usage-show#2", a)
	if a.count("tenant_usage", "server_usages") != 2 || !strings.Contains(string(a.body), `"state":"terminated"`) {
		t.Errorf("%s", a.body)
	}
	last := max(string(id), string(gone))
	if got := string(l.do("demo", "2.92", "GET", path+"?marker="+last, nil).want(200).body); got != `{"tenant_usage":{}}` {
		t.Errorf("the last page is %s", got)
	}
	l.do("demo", "", "GET", path+"?start=yesterday", nil).fails(400, "Datetime is in invalid format")
	l.do("demo", "", "GET", path+"?start=2026-02-01&end=2026-01-01", nil).fails(400, "The start time cannot occur after the end time.")
	l.do("demo", "", "GET", "/os-simple-tenant-usage", nil).want(403)
	l.do("other", "", "GET", path, nil).want(403)
}

// A user's own quota of metadata holds for servers that are made, changed and rebuilt, and for images of them.
func TestServers_MetadataQuotaOfTheUser(t *testing.T) {
	l := newLab(t)
	path := "/os-quota-sets/" + string(l.Projs["demo"]) + "?user_id=" + string(l.Users["demo"])
	l.do("admin", "", "PUT", path, object{"quota_set": object{"metadata_items": 1}}).want(200)
	two := object{"a": "b", "c": "d"}
	l.do("demo", "2.90", "POST", "/servers", l.request("s", object{"metadata": two})).fails(403, "Maximum number of metadata items exceeds 1")
	id := l.server("demo", "s", object{"metadata": object{"a": "b"}})
	l.do("demo", "", "POST", "/servers/"+string(id)+"/metadata", object{"metadata": object{"c": "d"}}).fails(403, "Maximum number of metadata items exceeds 1")
	l.act("demo", "", id, object{"rebuild": object{"imageRef": l.image, "metadata": two}}).fails(403, "Maximum number of metadata items exceeds 1")
	l.act("demo", "", id, object{"createImage": object{"name": "i", "metadata": two}}).fails(403, "Image metadata limit exceeded")
	l.do("admin", "", "POST", "/servers/"+string(id)+"/metadata", object{"metadata": object{"c": "d"}}).want(200) // who is asked is the one who does it
}
