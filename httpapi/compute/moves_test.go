package compute_test

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// A guest is paused and goes on, is saved to disk and goes on. Each shows its own status.
func TestSuspend_PausesAndSaves(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	for _, step := range []struct{ golden, action, status string }{
		{"370-server-pause", "pause", "PAUSED"}, {"372-server-unpause", "unpause", "ACTIVE"},
		{"373-server-suspend", "suspend", "SUSPENDED"}, {"374-server-resume", "resume", "ACTIVE"},
	} {
		l.golden(step.golden, l.act("demo", "", id, object{step.action: nil}))
		l.obey(id)
		if got := l.status(id); got != step.status {
			t.Errorf("after %s the status is %s", step.action, got)
		}
		if step.status == "PAUSED" {
			l.golden("371-error-409-stop-paused", l.act("demo", "", id, object{"os-stop": nil}))
		}
	}
	l.act("demo", "", id, object{"suspend": nil}).want(202)
	l.obey(id)
	l.act("demo", "", id, object{"reboot": object{"type": "SOFT"}}).fails(409, "Cannot 'reboot' instance "+string(id)+" while it is in vm_state suspended")
	l.act("demo", "", id, object{"reboot": object{"type": "HARD"}}).want(202)
}

// A resize goes through Nova's statuses, and is confirmed, or reverted with the old flavor back.
func TestResize_IsConfirmedOrReverted(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	l.golden("389-error-400-resize-same-flavor", l.act("admin", "", id, object{"resize": object{"flavorRef": nano}}))
	l.golden("384-server-resize", l.act("admin", "", id, object{"resize": object{"flavorRef": micro}}))
	if got := l.status(id); got != "RESIZE" {
		t.Errorf("status is %s", got)
	}
	l.act("admin", "", id, object{"confirmResize": nil}).fails(409, "Cannot 'confirmResize' instance "+string(id)+" while it is in vm_state active")
	l.carryOn(id, other)
	l.golden("385-server-show-verify-resize#4", l.do("admin", "", "GET", "/servers/"+string(id), nil))
	if got := l.status(id); got != "VERIFY_RESIZE" {
		t.Errorf("status is %s", got)
	}
	l.golden("386-server-resize-confirm", l.act("admin", "", id, object{"confirmResize": nil}))
	if in := l.instance(id); in.Spec.Flavor.ID != micro || in.Node != other.ID || l.status(id) != "ACTIVE" {
		t.Errorf("%s with flavor %s on %s", l.status(id), in.Spec.Flavor.ID, in.Node)
	}
	l.act("admin", "", id, object{"resize": object{"flavorRef": nano, "OS-DCF:diskConfig": "AUTO"}}).want(202)
	if got := l.instance(id).Spec.DiskConfig; got != "AUTO" {
		t.Errorf("disk config is %s", got)
	}
	l.carryOn(id, &l.Node)
	l.golden("388-server-resize-revert", l.act("admin", "", id, object{"revertResize": nil}))
	if got := l.status(id); got != "REVERT_RESIZE" {
		t.Errorf("status is %s", got)
	}
	l.carryOn(id, nil)
	if in := l.instance(id); in.Spec.Flavor.ID != micro || in.Node != other.ID || l.status(id) != "ACTIVE" {
		t.Errorf("%s with flavor %s on %s", l.status(id), in.Spec.Flavor.ID, in.Node)
	}
}

// A disk never shrinks, and a flavor that the project may not use is none.
func TestResize_ToASmallerOrForeignFlavorIsRefused(t *testing.T) {
	l := newLab(t)
	for id, f := range map[string]cluster.Flavor{
		"big":    {Name: "big", DiskGiB: 5},
		"none":   {Name: "none"},
		"secret": {Name: "secret", DiskGiB: 9, Private: true},
		"off":    {Name: "off", DiskGiB: 9, Disabled: true},
	} {
		f.ID, f.VCPUs, f.MemoryMiB, f.RxTxFactor = cluster.FlavorID(id), 1, 64, 1
		l.Must(&cluster.PutFlavor{Flavor: f})
	}
	id := l.server("demo", "s", object{"flavorRef": "big"})
	l.act("demo", "", id, object{"resize": object{"flavorRef": nano}}).fails(400, "Server disk was unable to be resized because:")
	l.act("demo", "", id, object{"resize": object{"flavorRef": "none"}}).fails(400, "Resize to zero disk flavor is not allowed.")
	l.act("demo", "", id, object{"resize": object{"flavorRef": "secret"}}).fails(400, "Flavor secret could not be found.")
	l.act("demo", "", id, object{"resize": object{"flavorRef": "off"}}).fails(400, "Flavor off could not be found.")
	l.do("admin", "", "PUT", "/os-quota-sets/"+string(l.Projs["demo"]), object{"quota_set": object{"cores": 1}}).want(200)
	l.Must(&cluster.PutFlavor{Flavor: cluster.Flavor{ID: "wide", Name: "wide", VCPUs: 8, MemoryMiB: 64, DiskGiB: 5, RxTxFactor: 1}})
	l.act("demo", "", id, object{"resize": object{"flavorRef": "wide"}}).fails(403, "Quota exceeded for cores")
}

// An operator moves a server that is off meanwhile, to a node of his choice or to any.
func TestMigrate_GoesToAnotherNode(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	l.golden("393-server-migrate-cold-host-mv2.56", l.act("admin", "2.56", id, object{"migrate": object{"host": "node-1"}}))
	l.act("admin", "2.55", id, object{"migrate": object{"host": "nohost"}}).want(202) // it had no body then
	if m := l.instance(id).Op.Move; m.Host != "" {
		t.Errorf("host is %q", m.Host)
	}
	l.carryOn(id, other)
	l.act("admin", "", id, object{"revertResize": nil}).want(202)
	l.carryOn(id, nil)
	l.golden("391-server-migrate-cold", l.act("admin", "", id, object{"migrate": nil}))
	l.carryOn(id, other)
	l.act("admin", "", id, object{"confirmResize": nil}).want(204)
	l.act("admin", "2.56", id, object{"migrate": object{"host": "node-1"}}).want(202)
	if m := l.instance(id).Op.Move; m.Host != "node-1" {
		t.Errorf("host is %q", m.Host)
	}
}

// A running server moves. What is asked about its disks arrives in the state.
func TestMigrateLive_TakesEveryBodyOfItsTime(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	l.golden("398-error-400-live-migrate-bad-host", l.act("admin", "2.92", id, object{"os-migrateLive": object{"host": "nohost", "block_migration": "auto"}}))
	for _, c := range []struct {
		golden, version string
		body            object
		disks           string
		forced          bool
	}{
		{"395-server-live-migrate-auto", "2.92", object{"host": nil, "block_migration": "auto"}, "auto", false},
		{"397-server-live-migrate-mv2.1-block", "", object{"host": nil, "block_migration": true, "disk_over_commit": "False"}, "yes", false},
		{"395-server-live-migrate-auto", "2.25", object{"host": nil, "block_migration": "False"}, "no", false},
		{"395-server-live-migrate-auto", "2.30", object{"host": "node-2", "block_migration": "auto", "force": true}, "auto", true},
	} {
		l.golden(c.golden, l.act("admin", c.version, id, object{"os-migrateLive": c.body}))
		m := l.instance(id).Op.Move
		if m.CopyDisks != c.disks || m.Forced != c.forced || m.From != l.Node.ID {
			t.Errorf("%v: %+v", c.body, m)
		}
		if got := l.status(id); got != "MIGRATING" {
			t.Errorf("status is %s", got)
		}
		l.carryOn(id, other)
		l.act("admin", "", id, object{"migrate": nil}).want(202) // back, for the next
		l.carryOn(id, &l.Node)
		l.act("admin", "", id, object{"confirmResize": nil}).want(204)
	}
	l.act("admin", "2.34", id, object{"os-migrateLive": object{"host": "node-1", "block_migration": "auto"}}).want(202) // found out afterwards
	l.Must(&cluster.PlaceMove{ID: id, Operation: l.instance(id).Op.ID})
	if in := l.instance(id); in.Op != nil || in.Status.VM != cluster.VMActive {
		t.Errorf("%+v", in.Status)
	}
	l.down = true
	l.act("admin", "2.34", id, object{"os-migrateLive": object{"host": nil, "block_migration": "auto"}}).fails(400, "Compute service of node-1 is unavailable")
}

// While the node is up, there may be a guest on it: nothing is built anew elsewhere. When it is down, it is.
func TestEvacuate_OnlyFromANodeThatIsDown(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	l.golden("694-error-400-evacuate-host-up", l.act("admin", "2.92", id, object{"evacuate": object{}}))
	l.act("admin", "2.92", id, object{"evacuate": object{}}).fails(400, "Compute service of node-1 is still in use.")
	l.Must(&cluster.SetNodeService{ID: l.Node.ID, Service: cluster.ServiceState{ForcedDown: true}})
	l.golden("698-server-evacuate", l.act("admin", "2.92", id, object{"evacuate": object{"host": "node-2"}}))
	if got := l.status(id); got != "REBUILD" {
		t.Errorf("status is %s", got)
	}
	l.carryOn(id, other)
	if in := l.instance(id); in.Node != other.ID || in.Status.VM != cluster.VMActive {
		t.Errorf("%s on %s", in.Status.VM, in.Node)
	}
	if got := l.do("admin", "2.80", "GET", "/os-migrations?migration_type=evacuation", nil).want(200).text("migrations", 0, "status"); got != "done" {
		t.Errorf("status of the migration is %s", got)
	}
	l.Must(&cluster.SetNodeService{ID: other.ID, Service: cluster.ServiceState{ForcedDown: true}})
	l.Must(&cluster.SetNodeService{ID: l.Node.ID})
	a := l.act("admin", "", id, object{"evacuate": object{"onSharedStorage": "False", "adminPass": "secret"}}).want(200)
	if a.text("adminPass") != "secret" {
		t.Errorf("%s", a.body)
	}
}

// Migrations are listed with what each microversion shows, filtered, and in pages that end.
func TestMigrations_AreListedAsNovaDoes(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	l.act("admin", "", id, object{"resize": object{"flavorRef": micro}}).want(202)
	l.carryOn(id, other)
	l.act("admin", "", id, object{"confirmResize": nil}).want(204)
	for _, host := range []*cluster.Node{&l.Node, other} {
		l.act("admin", "2.34", id, object{"os-migrateLive": object{"host": host.Name, "block_migration": "auto"}}).want(202)
		l.carryOn(id, host)
	}
	old := l.do("admin", "", "GET", "/os-migrations", nil)
	// Here the address of a destination is left out only where the node sends.
	l.golden("399-server-migration-list", old, "/migrations/*/dest_host")
	if old.count("migrations") != 3 || old.text("migrations", 0, "status") != "confirmed" || old.text("migrations", 2, "dest_compute") != "node-2" {
		t.Errorf("%s", old.body)
	}
	page := l.do("admin", "2.80", "GET", "/os-migrations?limit=2", nil)
	l.golden("401-os-migrations-mv2.80", page)
	if page.text("migrations", 0, "dest_compute") != "node-2" || page.text("migrations", 0, "status") != "completed" {
		t.Errorf("%s", page.body)
	}
	last := l.do("admin", "2.80", "GET", "/os-migrations?limit=2&marker="+page.text("migrations", 1, "uuid"), nil).want(200)
	if last.count("migrations") != 1 || last.at("migrations_links") != nil || last.text("migrations", 0, "migration_type") != "resize" {
		t.Errorf("%s", last.body)
	}
	for query, n := range map[string]int{"status=completed": 2, "host=node-2": 3, "source_compute=node-2": 1, "migration_type=resize": 1,
		"instance_uuid=" + string(id): 3, "instance_uuid=" + nobody: 0, "user_id=" + string(l.Users["admin"]): 3, "project_id=x": 0,
		"changes-since=2200-01-01T00:00:00": 0, "changes-before=2200-01-01T00:00:00": 3} {
		if got := l.do("admin", "2.80", "GET", "/os-migrations?"+query, nil).want(200).count("migrations"); got != n {
			t.Errorf("%s: %d migrations", query, got)
		}
	}
	l.do("admin", "2.59", "GET", "/os-migrations?marker="+nobody, nil).fails(400, "Marker "+nobody+" could not be found.")
	l.do("admin", "2.59", "GET", "/os-migrations?user_id=x", nil).fails(400, "('user_id' was unexpected)")
	l.do("admin", "2.66", "GET", "/os-migrations?changes-since=2020-01-02&changes-before=2020-01-01", nil).fails(400, "changes-since")
	l.do("admin", "2.23", "GET", "/os-migrations?zzz=1", nil).want(200)
}

// A live migration under way is shown, can be told to complete and can be aborted; one that is over cannot.
func TestServerMigrations_AreShownForcedAndAborted(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	path := "/servers/" + string(id) + "/migrations"
	l.golden("354-server-migrations", l.do("admin", "2.80", "GET", path, nil))
	l.do("admin", "2.22", "GET", path, nil).want(404)
	l.do("admin", "2.24", "DELETE", path+"/1", nil).fails(409, "Cannot 'abort live migration' instance "+string(id)+" while it is in task_state None")
	l.act("admin", "2.25", id, object{"os-migrateLive": object{"host": nil, "block_migration": "auto"}}).want(202)
	list := l.do("admin", "2.80", "GET", path, nil).want(200)
	if list.count("migrations") != 1 || list.text("migrations", 0, "status") != "preparing" || list.text("migrations", 0, "source_node") != "node-1" {
		t.Fatalf("%s", list.body)
	}
	number := list.text("migrations", 0, "id")
	one := path + "/" + number
	if got := l.do("admin", "2.59", "GET", one, nil).want(200).text("migration", "server_uuid"); got != string(id) {
		t.Errorf("server_uuid is %s", got)
	}
	l.do("admin", "2.24", "GET", path+"/99", nil).fails(404, "In-progress live migration 99 is not found for server "+string(id)+".")
	l.do("admin", "2.24", "DELETE", one, nil).fails(400, "Migration "+number+" state of instance "+string(id)+" is preparing. Cannot abort live migration")
	l.do("admin", "2.22", "POST", one+"/action", object{"force_complete": nil}).fails(400, "is preparing. Cannot force complete")
	l.Must(&cluster.PlaceMove{ID: id, Operation: l.instance(id).Op.ID, Node: other.ID})
	running := l.do("admin", "2.23", "GET", "/os-migrations", nil).want(200)
	if running.count("migrations", 0, "links") != 2 {
		t.Errorf("%s", running.body)
	}
	l.do("admin", "2.22", "POST", one+"/action", object{"force_complete": object{}}).fails(400, "force_complete")
	l.do("admin", "2.22", "POST", one+"/action", object{"fly": nil}).fails(400, "There is no such action: fly")
	l.do("admin", "2.22", "POST", path+"/99/action", object{"force_complete": nil}).fails(400, "Migration 99 not found for instance")
	l.do("admin", "2.22", "POST", one+"/action", object{"force_complete": nil}).want(202)
	if s := l.instance(id).Op.Move.Signal; s != cluster.SignalForce {
		t.Errorf("signal is %q", s)
	}
	l.do("admin", "2.24", "DELETE", one, nil).want(202)
	if s := l.instance(id).Op.Move.Signal; s != cluster.SignalAbort {
		t.Errorf("signal is %q", s)
	}
	op := l.instance(id).Op
	l.Must(&cluster.AdvanceOperation{Node: l.Node.ID, ID: id, Operation: op.ID, Step: op.Step, Cancelled: true})
	l.do("admin", "2.24", "GET", one, nil).fails(404, "Live migration "+number+" for server "+string(id)+" is not in progress.")
	if got := l.do("admin", "2.23", "GET", "/os-migrations", nil).text("migrations", 0, "status"); got != "cancelled" {
		t.Errorf("status is %s", got)
	}
	l.act("admin", "2.25", id, object{"os-migrateLive": object{"host": nil, "block_migration": "auto"}}).want(202)
	next := l.do("admin", "2.80", "GET", path, nil).text("migrations", 0, "id")
	l.do("admin", "2.65", "DELETE", path+"/"+next, nil).want(202) // before it runs, since 2.65
	if in := l.instance(id); in.Op != nil {
		t.Errorf("%+v", in.Op)
	}
}
