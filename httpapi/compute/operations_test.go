package compute_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// addNode enrols another node like the lab's first.
func (l *lab) addNode(name, address string) *cluster.Node {
	l.t.Helper()
	token := cluster.JoinToken{ID: cluster.TokenID("join-" + name), Hash: cluster.Hash{9}, Uses: 1, Expires: cluster.At(time.Now().Add(time.Hour))}
	l.Must(&cluster.PutJoinToken{Token: token})
	n := l.Node.Clone()
	n.ID, n.Name, n.Address = cluster.NodeID(rest.NewUUID()), name, address
	l.Must(&cluster.EnrolNode{Token: token.ID, Secret: token.Hash, Node: *n})
	return n
}

// instance gives a server as the state has it.
func (l *lab) instance(id cluster.InstanceID) *cluster.Instance {
	l.t.Helper()
	in, ok := l.Local().Instance(id)
	if !ok {
		l.t.Fatalf("no instance %s", id)
	}
	return in
}

// reports says what the server's own node sees of it.
func (l *lab) reports(id cluster.InstanceID, p cluster.PowerState) {
	l.t.Helper()
	in := l.instance(id)
	l.Must(&cluster.ReportInstances{Node: in.Node, Reports: []cluster.InstanceReport{
		{ID: id, Generation: in.Generation, Epoch: in.Epoch, Boot: in.Boot, Power: p}}})
}

// obey makes the server's node report what is wanted of it.
func (l *lab) obey(id cluster.InstanceID) {
	l.t.Helper()
	wanted, _ := l.instance(id).Desired()
	l.reports(id, map[cluster.Power]cluster.PowerState{cluster.WantOn: cluster.PowerRunning, cluster.WantOff: cluster.PowerShutdown,
		cluster.WantPaused: cluster.PowerPaused, cluster.WantSaved: cluster.PowerSuspended}[wanted])
}

// carryOn does what the leader and the nodes do with a server's operation, until it is over or waits for its user.
func (l *lab) carryOn(id cluster.InstanceID, to *cluster.Node) {
	l.t.Helper()
	for range 10 {
		l.clearAway(id)
		in := l.instance(id)
		if in.Op == nil || in.Op.Step == cluster.StepWaiting {
			return
		}
		switch in.Op.Step {
		case cluster.StepPlacing:
			l.Must(&cluster.PlaceMove{ID: id, Operation: in.Op.ID, Node: to.ID})
		case cluster.StepStopping, cluster.StepFinishing, cluster.StepReverting:
			l.obey(id)
		default:
			if in.Op.Capture != nil {
				l.fill(in.Op.Capture.Image)
			}
			l.Must(&cluster.AdvanceOperation{Node: in.Executor(), ID: id, Operation: in.Op.ID, Step: in.Op.Step, Done: true})
		}
	}
	l.t.Fatalf("operation of %s does not end: %+v", id, l.instance(id).Op)
}

// clearAway makes every node remove what it may remove of a server. Until then the server waits: it might run there.
func (l *lab) clearAway(id cluster.InstanceID) {
	l.t.Helper()
	for n := range l.Local().Nodes() {
		if t, ok := l.Local().Tombstone(n.ID, id); ok {
			l.Must(&cluster.ReportInstances{Node: n.ID, Reports: []cluster.InstanceReport{{ID: id, Epoch: t.Epoch, Gone: true}}})
		}
	}
}

// fill gives an image that is being made its bytes.
func (l *lab) fill(id cluster.ImageID) {
	l.t.Helper()
	img, ok := l.Local().Image(id)
	if !ok {
		l.t.Fatalf("no image %s", id)
	}
	img = img.Clone()
	img.Status = cluster.ImageActive
	img.Data = &cluster.ImageData{Root: cluster.Hash{2}, Size: 1 << 20, VirtualSize: 1 << 30, MD5: strings.Repeat("c", 32),
		SHA512: strings.Repeat("d", 128), Nodes: []cluster.NodeID{l.Node.ID}}
	l.Must(&cluster.PutImage{Image: *img})
}

// status is what a server shows as its status.
func (l *lab) status(id cluster.InstanceID) string {
	l.t.Helper()
	return l.do("admin", "2.90", "GET", "/servers/"+string(id), nil).want(200).text("server", "status")
}

// into brings a running server into a state.
func (l *lab) into(id cluster.InstanceID, state cluster.VMState, other *cluster.Node) {
	l.t.Helper()
	act := func(body object) { l.act("admin", "", id, body) }
	switch state {
	case cluster.VMStopped:
		act(object{"os-stop": nil})
	case cluster.VMPaused:
		act(object{"pause": nil})
	case cluster.VMSuspended:
		act(object{"suspend": nil})
	case cluster.VMRescued:
		act(object{"rescue": nil})
	case cluster.VMError:
		act(object{"os-resetState": object{"state": "error"}})
		return
	case cluster.VMResized:
		act(object{"resize": object{"flavorRef": micro}})
		l.carryOn(id, other)
		return
	case cluster.VMOffloaded:
		act(object{"shelve": nil})
		l.carryOn(id, other)
		return
	case cluster.VMSoftDeleted:
		l.Must(&cluster.DeleteInstance{ID: id, Reclaim: cluster.At(time.Now().Add(time.Hour))})
		return
	}
	l.obey(id)
}

// What only operators may do is refused to members, and everything to readers, with the name of the policy.
func TestOperations_NeedTheRoleThatNovaAsksFor(t *testing.T) {
	l := newStage(t)
	l.shapes = nil // not the shapes of what is seen inside servers
	id := l.staged(0)
	l.golden("511-error-403-demo-migrate", l.act("demo", "", id, object{"migrate": nil}))
	rules := map[string]string{"migrate": "os-migrate-server:migrate", "os-migrateLive": "os-migrate-server:migrate_live", "evacuate": "os-evacuate",
		"os-resetState": "os-admin-actions:reset_state", "shelveOffload": "os-shelve:shelve_offload", "resetNetwork": "os-admin-actions:reset_network"}
	for name, rule := range rules {
		l.act("demo", "", id, object{name: nil}).fails(403, "Policy doesn't allow os_compute_api:"+rule+" to be performed.")
	}
	for name, d := range deeds {
		if a := d.do(l, "viewer", id); a.StatusCode != 403 {
			t.Errorf("%s by a reader: %d %s", name, a.StatusCode, a.body)
		}
	}
	for _, path := range []string{"/os-migrations", "/servers/" + string(id) + "/migrations"} {
		l.do("demo", "2.80", "GET", path, nil).fails(403, "Policy doesn't allow os_compute_api:")
	}
	l.do("viewer", "", "POST", "/servers/"+string(id)+"/os-interface", object{}).fails(403, "os-attach-interfaces:create")
}

// Bodies that Nova's validator refuses are refused, at the microversions that it refuses them.
func TestOperations_BadBodiesAreRefused(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	for _, c := range []struct {
		version string
		body    object
		says    string
	}{
		{"", object{"resize": object{}}, "'flavorRef' is a required property"},
		{"", object{"resize": object{"flavorRef": nil}}, "flavorRef"},
		{"", object{"resize": object{"flavorRef": ""}}, "flavorRef"},
		{"", object{"resize": object{"flavorRef": "99"}}, "Flavor 99 could not be found."},
		{"", object{"resize": object{"flavorRef": micro, "x": 1}}, "('x' was unexpected)"},
		{"", object{"rebuild": object{}}, "'imageRef' is a required property"},
		{"", object{"rebuild": object{"imageRef": "x"}}, "imageRef"},
		{"", object{"rebuild": object{"imageRef": nobody}}, "Cannot find image for rebuild"},
		{"", object{"rebuild": object{"imageRef": l.image, "description": "x"}}, "('description' was unexpected)"},
		{"2.53", object{"rebuild": object{"imageRef": l.image, "key_name": "x"}}, "('key_name' was unexpected)"},
		{"2.54", object{"rebuild": object{"imageRef": l.image, "key_name": "x"}}, "Invalid key_name provided."},
		{"2.57", object{"rebuild": object{"imageRef": l.image, "personality": []object{}}}, "('personality' was unexpected)"},
		{"2.57", object{"rebuild": object{"imageRef": l.image, "user_data": "!"}}, "user_data"},
		{"2.63", object{"rebuild": object{"imageRef": l.image, "trusted_image_certificates": []string{"a"}}}, "not supported"},
		{"2.90", object{"rebuild": object{"imageRef": l.image, "hostname": "-"}}, "hostname"},
		{"", object{"rebuild": object{"imageRef": l.image, "name": " "}}, "name"},
		{"", object{"rebuild": object{"imageRef": l.image, "accessIPv4": "x"}}, "accessIPv4"},
		{"", object{"rebuild": object{"imageRef": l.image, "preserve_ephemeral": true}}, "preserving ephemeral partitions"},
		{"", object{"rescue": object{"x": 1}}, "('x' was unexpected)"},
		{"", object{"rescue": object{"rescue_image_ref": "x"}}, "rescue_image_ref"},
		{"", object{"rescue": object{"rescue_image_ref": nobody}}, "Can not find requested image"},
		{"", object{"createImage": object{}}, "'name' is a required property"},
		{"", object{"createImage": object{"name": ""}}, "name"},
		{"", object{"createImage": object{"name": strings.Repeat("x", 256)}}, "name"},
		{"", object{"createImage": object{"name": "x", "metadata": object{"": "y"}}}, "metadata"},
		{"", object{"createBackup": object{"name": "x", "backup_type": "daily", "rotation": -1}}, "rotation"},
		{"", object{"createBackup": object{"name": "x", "backup_type": "daily", "rotation": "many"}}, "rotation"},
		{"", object{"createBackup": object{"name": "x", "rotation": 1}}, "'backup_type' is a required property"},
		{"", object{"os-migrateLive": object{"host": nil}}, "is a required property"},
		{"", object{"os-migrateLive": object{"host": nil, "block_migration": "auto", "disk_over_commit": false}}, "block_migration"},
		{"2.25", object{"os-migrateLive": object{"host": nil, "block_migration": "auto", "disk_over_commit": false}}, "('disk_over_commit' was unexpected)"},
		{"2.29", object{"os-migrateLive": object{"host": "node-1", "block_migration": "auto", "force": true}}, "('force' was unexpected)"},
		{"2.30", object{"os-migrateLive": object{"host": nil, "block_migration": "auto", "force": true}}, "Can't force to a non-provided destination"},
		{"2.68", object{"os-migrateLive": object{"host": "node-1", "block_migration": "auto", "force": true}}, "('force' was unexpected)"},
		{"", object{"os-migrateLive": object{"host": "node-1", "block_migration": false, "disk_over_commit": false}}, "Unable to migrate instance"},
		{"2.56", object{"migrate": object{"host": "nohost"}}, "Compute host nohost could not be found."},
		{"2.56", object{"migrate": object{"x": "nohost"}}, "('x' was unexpected)"},
		{"2.77", object{"unshelve": object{}}, "'availability_zone' is a required property"},
		{"2.77", object{"unshelve": object{"host": "x"}}, "host"},
		{"", object{"evacuate": object{}}, "'onSharedStorage' is a required property"},
		{"", object{"evacuate": object{"onSharedStorage": true, "adminPass": "x"}}, "admin password can't be changed on existing disk"},
		{"2.14", object{"evacuate": object{"onSharedStorage": true}}, "('onSharedStorage' was unexpected)"},
		{"2.29", object{"evacuate": object{"force": true}}, "Can't force to a non-provided destination"},
		{"2.68", object{"evacuate": object{"force": true, "host": "node-1"}}, "('force' was unexpected)"},
		{"2.14", object{"evacuate": object{"host": "node-1"}}, "The target host can't be the same one."},
		{"", object{"os-resetState": object{"state": "paused"}}, "'paused' is not one of ['active', 'error']"},
		{"", object{"os-resetState": object{}}, "'state' is a required property"},
		{"", object{"addFixedIp": object{}}, "'networkId' is a required property"},
		{"", object{"addFixedIp": object{"networkId": nobody}}, "could not be found for instance"},
		{"", object{"removeFixedIp": object{"address": "x"}}, "address"},
		{"", object{"removeFixedIp": object{"address": "10.0.0.1"}}, "does not have fixed IP '10.0.0.1'"},
	} {
		l.act("admin", c.version, id, c.body).fails(400, c.says)
	}
	l.act("admin", "2.14", id, object{"evacuate": object{"host": "nohost"}}).fails(404, "Compute host nohost not found.")
	l.act("demo", "2.44", id, object{"addFixedIp": object{"networkId": nobody}}).fails(404, "The resource could not be found.")
	if in := l.instance(id); in.Status.Task != cluster.TaskNone || in.Status.VM != cluster.VMActive {
		t.Errorf("a refused request changed the server: %+v", in.Status)
	}
}

// Whatever was done is among the server's actions, under the name that Nova gives it, newest first.
func TestOperations_AreRememberedByNovasNames(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	path := "/servers/" + string(id)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"pause", func() { l.act("admin", "", id, object{"pause": nil}).want(202); l.obey(id) }},
		{"unpause", func() { l.act("admin", "", id, object{"unpause": nil}).want(202); l.obey(id) }},
		{"suspend", func() { l.act("admin", "", id, object{"suspend": nil}).want(202); l.obey(id) }},
		{"resume", func() { l.act("admin", "", id, object{"resume": nil}).want(202); l.obey(id) }},
		{"rebuild", func() { l.act("admin", "", id, object{"rebuild": object{"imageRef": l.image}}).want(202); l.obey(id) }},
		{"rescue", func() { l.act("admin", "", id, object{"rescue": nil}).want(200); l.obey(id) }},
		{"unrescue", func() { l.act("admin", "", id, object{"unrescue": nil}).want(202); l.obey(id) }},
		{"resize", func() {
			l.act("admin", "", id, object{"resize": object{"flavorRef": micro}}).want(202)
			l.carryOn(id, other)
		}},
		{"revertResize", func() { l.act("admin", "", id, object{"revertResize": nil}).want(202); l.carryOn(id, nil) }},
		{"migrate", func() { l.act("admin", "", id, object{"migrate": nil}).want(202); l.carryOn(id, other) }},
		{"confirmResize", func() { l.act("admin", "", id, object{"confirmResize": nil}).want(204) }},
		{"live-migration", func() {
			l.act("admin", "2.25", id, object{"os-migrateLive": object{"host": nil, "block_migration": "auto"}}).want(202)
			l.carryOn(id, &l.Node)
		}},
		{"createImage", func() {
			l.act("admin", "", id, object{"createImage": object{"name": "i"}}).want(202)
			l.carryOn(id, nil)
		}},
		{"createBackup", func() {
			l.act("admin", "", id, object{"createBackup": object{"name": "b", "backup_type": "daily", "rotation": 1}}).want(202)
			l.carryOn(id, nil)
		}},
		{"attach_interface", func() {
			l.do("admin", "", "POST", path+"/os-interface", object{"interfaceAttachment": object{"net_id": l.network}}).want(200)
		}},
		{"detach_interface", func() {
			l.do("admin", "", "DELETE", path+"/os-interface/"+string(l.instance(id).Ports[0]), nil).want(202)
		}},
		{"shelve", func() { l.act("admin", "", id, object{"shelve": nil}).want(202); l.carryOn(id, nil) }},
		{"unshelve", func() { l.act("admin", "", id, object{"unshelve": nil}).want(202); l.boot(id) }},
	} {
		step.do()
		list := l.do("admin", "2.84", "GET", path+"/os-instance-actions", nil).want(200)
		request := list.text("instanceActions", 0, "request_id")
		if got := list.text("instanceActions", 0, "action"); got != step.name || list.at("instanceActions", 0, "message") != nil {
			t.Errorf("%s is remembered as %s", step.name, list.body)
		}
		one := l.do("admin", "2.84", "GET", path+"/os-instance-actions/"+request, nil).want(200)
		for i := range one.count("instanceAction", "events") {
			if one.text("instanceAction", "events", i, "result") != "Success" {
				t.Errorf("%s: %s", step.name, one.body)
			}
		}
	}
}
