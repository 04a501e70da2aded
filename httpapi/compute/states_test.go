package compute_test

import (
	"slices"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// newStage makes a lab with two nodes that share volumes, and no limits.
func newStage(t *testing.T) *inside {
	l := newInside(t)
	l.Node.Host.Traits = []string{cluster.TraitSharedVolumes}
	l.Must(&cluster.UpdateNode{Node: l.Node})
	l.other = l.addNode("node-2", "127.0.0.2")
	limits := map[cluster.QuotaName]int64{}
	for _, name := range []cluster.QuotaName{cluster.QuotaInstances, cluster.QuotaCores, cluster.QuotaRAM, cluster.QuotaPorts,
		cluster.QuotaVolumes, cluster.QuotaGigabytes} {
		limits[name] = -1
	}
	l.Must(&cluster.PutQuota{Quota: cluster.Quota{Project: l.Projs["demo"], Limits: limits}})
	return l
}

// staged makes a server that has a card, a volume, a tag and an item of metadata, and brings it to a stage.
func (l *inside) staged(i int) cluster.InstanceID {
	l.t.Helper()
	s := stages[i]
	id := l.create("demo", "s", object{"networks": []object{{"uuid": l.network}}, "metadata": object{"k": "v"}, "tags": []string{"t"}})
	l.Must(&cluster.AttachVolume{Volume: l.volume("demo", "shared", nil), Attachment: cluster.Attachment{
		ID: cluster.AttachmentID("attachment-of-" + id), Instance: id}})
	switch s.task {
	case cluster.TaskScheduling:
	case cluster.TaskSpawning:
		in := l.instance(id)
		l.Must(&cluster.PlaceInstance{ID: id, Generation: in.Generation, Epoch: in.Epoch, Node: l.Node.ID})
	default:
		l.boot(id)
		l.settle()
		l.obey(id)
	}
	if s.vm != cluster.VMActive && s.vm != cluster.VMBuilding {
		l.into(id, s.vm, l.other)
	}
	if s.do != nil {
		s.do(l, id)
	}
	if got := l.instance(id).Status; got.VM != s.vm || got.Task != s.task {
		l.t.Fatalf("a server is in %s %q instead of %s %q", got.VM, got.Task, s.vm, s.task)
	}
	return id
}

// Everything is asked of a server in every state and during every task. It is done where Nova does it; elsewhere it is refused with
// Nova's words, and the server stays as it was.
func TestStates_EverythingIsDoneOrRefusedAsNovaDoes(t *testing.T) {
	l := newStage(t)
	for i, s := range stages {
		shown := l.staged(i) // refuses whatever there is to be refused
		for name, d := range deeds {
			if name == "evacuate" && (l.instance(shown).Op != nil || s.task == cluster.TaskDeleting) {
				continue // other than Nova, we must know first what the operation has left elsewhere: a story of its own
			}
			says := d.refusal(shown, s.vm, s.task)
			if says == "" {
				id := l.staged(i)
				if a := d.do(l, "admin", id); a.StatusCode >= 300 {
					t.Errorf("%s in %s %q: %d %s", name, s.vm, s.task, a.StatusCode, a.body)
				}
				l.remove(id)
				continue
			}
			before := l.instance(shown).Revision
			d.do(l, "admin", shown).fails(409, says)
			if after := l.instance(shown).Revision; after != before {
				t.Errorf("%s was refused in %s %q, and changed the server", name, s.vm, s.task)
			}
		}
		l.remove(shown)
	}
}

// refusal is what Nova says where it does not do it; "": it does.
func (d deed) refusal(id cluster.InstanceID, vm cluster.VMState, task cluster.TaskState) string {
	cannot := "Cannot '" + d.words + "' instance " + string(id) + " while it is in "
	switch {
	case d.states != nil && !slices.Contains(d.states, vm):
		return cannot + "vm_state " + string(vm)
	case task != cluster.TaskNone && !slices.Contains(d.tasks, task) && !slices.Equal(d.tasks, anyTask):
		return cannot + "task_state " + string(task)
	}
	return ""
}

// remove makes a server, and what nodes have of it, go.
func (l *inside) remove(id cluster.InstanceID) {
	l.t.Helper()
	if _, there := l.Local().Instance(id); there {
		l.Must(&cluster.DeleteInstance{ID: id})
	}
	l.clearAway(id)
}

// The table leaves out no state and no task but those that a server cannot be in for as long as anybody could ask.
func TestStates_AreAllTried(t *testing.T) {
	for _, vm := range []cluster.VMState{cluster.VMBuilding, cluster.VMActive, cluster.VMStopped, cluster.VMPaused, cluster.VMSuspended,
		cluster.VMRescued, cluster.VMResized, cluster.VMOffloaded, cluster.VMSoftDeleted, cluster.VMError} {
		if !slices.ContainsFunc(stages, func(s stage) bool { return s.vm == vm }) {
			t.Errorf("no stage is in %s", vm)
		}
	}
	for _, task := range []cluster.TaskState{cluster.TaskNone, cluster.TaskScheduling, cluster.TaskSpawning, cluster.TaskDeleting,
		cluster.TaskPoweringOff, cluster.TaskPoweringOn, cluster.TaskRebooting, cluster.TaskRebootHard, cluster.TaskPausing,
		cluster.TaskUnpausing, cluster.TaskSuspending, cluster.TaskResuming, cluster.TaskRebuilding, cluster.TaskRescuing,
		cluster.TaskUnrescuing, cluster.TaskRestoring, cluster.TaskSnapshot, cluster.TaskBackup, cluster.TaskResizePrep,
		cluster.TaskResizeMoving, cluster.TaskResizeFinish, cluster.TaskResizeRevert, cluster.TaskMigrating, cluster.TaskShelving,
		cluster.TaskUnshelving} {
		if !slices.ContainsFunc(stages, func(s stage) bool { return s.task == task }) {
			t.Errorf("no stage has the task %s", task)
		}
	}
}

// A member changes nothing of a server that is locked but what the lock does not protect; an administrator does what he likes.
func TestStates_ALockedServerStaysAsItIs(t *testing.T) {
	l := newStage(t)
	for name, d := range deeds {
		if d.admin {
			continue
		}
		id := l.staged(0)
		l.Must(&cluster.UpdateInstance{ID: id, Locked: new("owner")})
		before := l.instance(id).Revision
		a := d.do(l, "demo", id)
		if !d.locked {
			a.fails(409, "Instance "+string(id)+" is locked")
			if l.instance(id).Revision != before {
				t.Errorf("%s was refused, and changed the server", name)
			}
		} else if a.StatusCode >= 300 {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		l.remove(id)
	}
}

// A console and what a guest uses are shown of one that runs. Whatever else its power is, Nova says why not.
func TestStates_GuestsThatDoNotRunAreNotLookedInto(t *testing.T) {
	l := newInside(t)
	id := l.server("demo", "s", nil)
	diagnostics := "/servers/" + string(id) + "/diagnostics"
	for power, word := range map[cluster.PowerState]string{cluster.PowerNoState: "pending", cluster.PowerRunning: "",
		cluster.PowerPaused: "paused", cluster.PowerShutdown: "shutdown", cluster.PowerCrashed: "crashed", cluster.PowerSuspended: "suspended"} {
		l.reports(id, power)
		console := l.consoles("demo", "2.8", id, "vnc", "novnc")
		if word == "" || power == cluster.PowerPaused {
			console.want(200)
		} else {
			console.fails(409, "Instance "+string(id)+" is not ready")
		}
		if a := l.do("admin", "", "GET", diagnostics, nil); word == "" {
			a.want(200)
		} else {
			a.fails(409, "Cannot 'get_diagnostics' instance "+string(id)+" while it is in power state "+word)
		}
	}
}

// A console is not given away of a server that is leaving its node, or the world.
func TestStates_ConsolesOfServersThatGoAreRefused(t *testing.T) {
	l := newStage(t)
	for i, s := range stages {
		if s.task != cluster.TaskMigrating && s.task != cluster.TaskDeleting || s.vm == cluster.VMError {
			continue
		}
		id := l.staged(i)
		says := "' instance " + string(id) + " while it is in task_state " + string(s.task)
		l.act("demo", "", id, object{"os-getVNCConsole": object{"type": "novnc"}}).fails(409, "Cannot 'get_vnc_console"+says)
		l.consoles("demo", "2.8", id, "serial", "serial").fails(409, "Cannot 'get_serial_console"+says)
		l.remove(id)
	}
}

// What a server's node would have to do is refused while it is down: nobody would do it.
func TestStates_ServersOfANodeThatIsDownStayWhereTheyAre(t *testing.T) {
	l := newStage(t)
	id := l.staged(0)
	l.down = true
	for _, name := range []string{"resize", "migrate", "detach volume"} {
		deeds[name].do(l, "admin", id).fails(409, "Service is unavailable at this time.")
	}
	deeds["live migrate"].do(l, "admin", id).fails(400, "Compute service of node-1 is unavailable at this time.")
	if in := l.instance(id); in.Op != nil || in.Status.Task != cluster.TaskNone {
		t.Errorf("%+v", in.Status)
	}
}

// A node that has just started takes no other for down of which it has not heard: whoever asks it is told to ask again.
func TestStates_SilenceMeansNothingJustAfterAStart(t *testing.T) {
	l := newStage(t)
	id := l.staged(0)
	l.unheard = true
	deeds["evacuate"].do(l, "admin", id).fails(503, "has not heard of node-1 yet")
	l.down = true
	for _, name := range []string{"resize", "migrate", "detach volume", "live migrate"} {
		deeds[name].do(l, "admin", id).fails(503, "has not heard of node-1 yet")
	}
	l.Must(&cluster.SetNodeService{ID: l.Node.ID, Service: cluster.ServiceState{ForcedDown: true}})
	deeds["migrate"].do(l, "admin", id).fails(409, "Service is unavailable at this time.")
	deeds["evacuate"].do(l, "admin", id).want(200)
}

// What is gone, or is another's, does not exist, whatever is asked of it.
func TestStates_ServersThatAreGoneDoNotExist(t *testing.T) {
	l := newStage(t)
	id := l.staged(0)
	for name, d := range deeds {
		if a := d.do(l, "other", id); a.StatusCode != 404 && !d.admin {
			t.Errorf("%s of another's server: %d %s", name, a.StatusCode, a.body)
		}
	}
	port := l.instance(id).Ports[0]
	l.remove(id)
	for name, d := range deeds {
		switch name {
		case "detach volume", "keep volume", "detach interface": // they look up what it had
			continue
		}
		if a := d.do(l, "admin", id); a.StatusCode != 404 {
			t.Errorf("%s of a server that is gone: %d %s", name, a.StatusCode, a.body)
		}
	}
	l.do("admin", "", "DELETE", "/servers/"+string(id)+"/os-interface/"+string(port), nil).fails(404, "could not be found")
	if _, again := l.Local().Instance(id); again {
		t.Error("it is back")
	}
}
