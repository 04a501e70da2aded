package compute_test

import (
	"net/http"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// act sends an action.
func (l *lab) act(token, version string, id cluster.InstanceID, body any) *answer {
	l.t.Helper()
	return l.do(token, version, "POST", "/servers/"+string(id)+"/action", body)
}

// Actions are refused in states that Nova does not allow them in, in its words.
func TestActions_InTheWrongStateAreConflicts(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	l.golden("369-error-409-start-active", l.act("demo", "", id, object{"os-start": nil}))
	l.act("demo", "", id, object{"os-start": nil}).fails(409, "Cannot 'start' instance "+string(id)+" while it is in vm_state active")
	l.golden("390-error-409-confirm-not-resized", l.act("demo", "", id, object{"confirmResize": nil}))
	l.golden("366-server-stop", l.act("demo", "", id, object{"os-stop": nil}))
	l.act("demo", "", id, object{"os-stop": nil}).fails(409, "Cannot 'stop' instance "+string(id)+" while it is in task_state powering-off")
	l.act("demo", "", id, object{"unpause": nil}).fails(409, "Cannot 'unpause'")
}

// What is no action is refused; what Kilonova does not have says so.
func TestActions_BadAndUnsupportedOnesAreRefused(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	l.act("demo", "", id, object{"fly": nil}).fails(400, "There is no such action: fly")
	l.act("demo", "", id, nil).fails(400, "Malformed request body")
	l.act("demo", "", id, "{}").fails(400, "Malformed request body")
	l.act("demo", "", id, "[]").fails(400, "Malformed request body")
	l.act("demo", "", id, object{"os-stop": nil, "os-start": nil}).fails(400, "names 2 actions")
	l.act("demo", "", id, object{"reboot": object{"type": "MEDIUM"}}).fails(400,
		"Invalid input for field/attribute type. Value: MEDIUM. 'MEDIUM' is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']")
	l.act("demo", "", id, object{"reboot": object{}}).fails(400, "'type' is a required property")
	l.act("demo", "", id, object{"reboot": nil}).fails(400, "None is not of type 'object'")
	l.act("demo", "", id, object{"addSecurityGroup": object{"name": "x"}}).fails(501, "The requested functionality is not supported: the action addSecurityGroup.")
	l.act("demo", "", id, object{"os-getVNCConsole": object{"type": "novnc"}}).fails(400, "Unavailable console type novnc.")
	l.golden("747-raw-getVNCConsole-mv2.6-404", l.act("demo", "2.6", id, object{"os-getVNCConsole": object{"type": "novnc"}}))
	l.do("demo", "2.8", "POST", "/servers/"+string(id)+"/remote-consoles", object{"remote_console": object{"type": "novnc", "protocol": "vnc"}}).
		fails(400, "Unavailable console type novnc.")
	l.do("admin", "", "GET", "/servers/"+string(id)+"/diagnostics", nil).fails(501, "not supported")
}

// A locked server changes for nobody but administrators. What an administrator locked, its owner cannot unlock.
func TestActions_LockedServersStayAsTheyAre(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	path := "/servers/" + string(id)
	l.golden("376-server-lock-reason-mv2.73", l.act("demo", "2.92", id, object{"lock": object{"locked_reason": "maint"}}))
	s := l.do("demo", "2.92", "GET", path, nil).want(200)
	if s.at("server", "locked") != true || s.text("server", "locked_reason") != "maint" {
		t.Errorf("%s", s.body)
	}
	l.golden("380-error-409-action-on-locked-demo", l.act("demo", "", id, object{"os-stop": nil}))
	l.act("demo", "", id, object{"reboot": object{"type": "HARD"}}).fails(409, "Instance "+string(id)+" is locked")
	l.do("demo", "", "DELETE", path, nil).fails(409, "is locked")
	l.do("demo", "", "PUT", path, object{"server": object{"name": "x"}}).want(200) // a name is not what is protected
	l.do("demo", "", "POST", path+"/metadata", object{"metadata": object{"a": "b"}}).fails(409, "is locked")
	l.act("demo", "", id, object{"unlock": nil}).want(202)
	l.act("admin", "", id, object{"lock": nil}).want(202)
	l.act("demo", "", id, object{"unlock": nil}).fails(403, "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.")
	l.act("admin", "", id, object{"os-stop": nil}).want(202)
	l.act("admin", "", id, object{"unlock": nil}).want(202)
	actions := l.do("demo", "", "GET", path+"/os-instance-actions", nil).want(200)
	for i, want := range []string{"unlock", "stop", "lock", "unlock", "lock"} {
		if got := actions.text("instanceActions", i, "action"); got != want {
			t.Errorf("action %d is %q, want %q", i, got, want)
		}
	}
	l.act("demo", "2.73", id, object{"lock": object{"zzz": 1}}).fails(400, "('zzz' was unexpected)")
}

// The console log comes from whichever node has it, without what JSON and XML readers stumble over.
func TestActions_ConsoleOutput(t *testing.T) {
	l := newLab(t)
	id := l.create("demo", "s", nil)
	l.act("demo", "", id, object{"os-getConsoleOutput": object{}}).fails(409, "Instance "+string(id)+" is not ready")
	l.boot(id)
	l.console = "one\x1b[0m\ntwo\xff\nthree\n"
	a := l.act("demo", "", id, object{"os-getConsoleOutput": object{"length": 2}})
	l.golden("748-raw-getConsoleOutput", a)
	if got := a.text("output"); got != "two\nthree" {
		t.Errorf("output is %q", got)
	}
	for _, length := range []any{nil, -1, "10"} {
		if got := l.act("demo", "2.92", id, object{"os-getConsoleOutput": object{"length": length}}).want(200).text("output"); got != "one[0m\ntwo\nthree" {
			t.Errorf("%v: output is %q", length, got)
		}
	}
	l.act("demo", "", id, object{"os-getConsoleOutput": object{"length": -2}}).fails(400, "less than the minimum of -1")
	l.act("demo", "", id, object{"os-getConsoleOutput": object{"length": "many"}}).fails(400, "does not match")
	l.act("viewer", "", id, object{"os-getConsoleOutput": object{}}).fails(403, "os_compute_api:os-console-output")
}

// Everything that was done to a server is told, step by step.
func TestActions_AreRemembered(t *testing.T) {
	l := newLab(t)
	id := l.server("admin", "s", nil)
	request := l.act("admin", "", id, object{"os-stop": nil}).want(202).Header.Get("X-Compute-Request-Id")
	l.report(id, cluster.InstanceReport{Power: cluster.PowerShutdown})
	path := "/servers/" + string(id) + "/os-instance-actions"
	list := l.do("admin", "", "GET", path, nil)
	l.golden("411-server-event-list#5", list)
	l.golden("412-server-event-list-mv2.92#5", l.do("admin", "2.92", "GET", path, nil))
	if list.count("instanceActions") != 2 || list.text("instanceActions", 0, "action") != "stop" || list.text("instanceActions", 0, "request_id") != request {
		t.Errorf("%s", list.body)
	}
	l.golden("413-server-event-show#5", l.do("admin", "", "GET", path+"/"+request, nil))
	l.golden("414-server-event-show-mv2.92#5", l.do("admin", "2.92", "GET", path+"/"+request, nil))
	l.do("admin", "", "GET", path+"/req-none", nil).fails(404, "Action for request_id req-none on instance "+string(id)+" not found")
	page := l.do("admin", "2.58", "GET", path+"?limit=1", nil).want(200)
	if page.count("instanceActions") != 1 || page.count("links") != 1 {
		t.Errorf("%s", page.body)
	}
	l.do("admin", "", "DELETE", "/servers/"+string(id), nil).want(204)
	in, _ := l.Local().Instance(id)
	l.Must(&cluster.ReportInstances{Node: l.Node.ID, Reports: []cluster.InstanceReport{{ID: id, Epoch: in.Epoch, Gone: true}}})
	if n := l.do("admin", "2.21", "GET", path, nil).want(200).count("instanceActions"); n != 3 {
		t.Errorf("%d actions after it is gone", n)
	}
	l.do("admin", "2.20", "GET", path, nil).want(http.StatusNotFound)
}

// forceDelete is a delete by another name.
func TestActions_ForceDelete(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	l.act("demo", "", id, object{"forceDelete": nil}).want(202)
	if in, _ := l.Local().Instance(id); in.Wanted != cluster.WantDeleted {
		t.Errorf("wanted is %s", in.Wanted)
	}
	l.golden("515-error-404-server-delete-cli#2", l.do("demo", "", "GET", "/servers/no-such-server", nil))
}
