package compute_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// under sends an action under an Idempotency-Key.
func (l *lab) under(key string, id cluster.InstanceID, body any) *answer {
	return l.send(ask{token: "admin", version: "2.92", method: "POST", path: "/compute/v2.1/servers/" + string(id) + "/action", body: body,
		header: http.Header{"Idempotency-Key": {key}}})
}

// The answer to a resize was lost, and it is done when the client asks again: the server has the flavor by now. It is told what the first
// request came to. Another one is not.
func TestResize_RepeatedAfterItIsDone(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	resize := object{"resize": object{"flavorRef": micro}}
	l.under("k1", id, resize).want(202)
	l.carryOn(id, other)
	l.act("admin", "", id, object{"confirmResize": nil}).want(204)
	l.under("k1", id, resize).want(202)
	if got := l.status(id); got != "ACTIVE" {
		t.Errorf("the repetition made it %s", got)
	}
	l.under("k2", id, resize).fails(400, "When resizing, instances must change flavor!")
}

// A server was evacuated when the client asks again, and its node is up. A key alone is no leave to evacuate from a node that is up.
func TestEvacuate_RepeatedAfterItIsDone(t *testing.T) {
	l := newLab(t)
	other := l.addNode("node-2", "127.0.0.2")
	id := l.server("admin", "s", nil)
	evacuate := object{"evacuate": object{}}
	l.under("k0", id, evacuate).fails(400, "Compute service of node-1 is still in use.")
	l.Must(&cluster.SetNodeService{ID: l.Node.ID, Service: cluster.ServiceState{ForcedDown: true}})
	l.under("k1", id, evacuate).want(200)
	l.carryOn(id, other)
	l.under("k1", id, evacuate).want(200)
	if in := l.instance(id); in.Node != other.ID || in.Op != nil {
		t.Errorf("it is on %s, in %+v", in.Node, in.Op)
	}
	l.under("k2", id, evacuate).fails(400, "Compute service of node-2 is still in use.")
}

// Whatever is asked of a server is asked again under the same key: at once, and when it is done, its node does not answer, and somebody has locked
// the server. The repetition is told what the first was told, and does nothing.
func TestStates_ARepetitionIsToldWhatTheFirstWasTold(t *testing.T) {
	l := newStage(t)
	for name, d := range deeds {
		who := "demo"
		if d.admin {
			who = "admin"
		}
		i := slices.IndexFunc(stages, func(s stage) bool { return d.refusal("", s.vm, s.task) == "" })
		if i < 0 {
			continue // no server is ever in the state that it needs
		}
		id := l.staged(i)
		l.key = "key of " + name
		first := d.do(l, who, id)
		request := l.last
		if first.StatusCode >= 300 {
			t.Fatalf("%s: %d %s", name, first.StatusCode, first.body)
		}
		l.repeated(name, "at once", first, request, id)
		l.key = ""
		l.finish(id)
		l.down, l.key = true, "key of "+name
		l.repeated(name, "when it is done", first, request, id)
		l.down, l.key = false, ""
		l.remove(id)
	}
}

// repeated sends a request again.
func (l *inside) repeated(name, when string, first *answer, request ask, id cluster.InstanceID) {
	l.t.Helper()
	before, there := l.Local().Instance(id)
	again := l.send(request)
	if again.StatusCode != first.StatusCode {
		l.t.Errorf("%s, %s: first %d, then %d %s", name, when, first.StatusCode, again.StatusCode, again.body)
	}
	if now, still := l.Local().Instance(id); there != still || there && now.Revision != before.Revision {
		l.t.Errorf("%s, %s: it was done again", name, when)
	}
}

// finish does what the cluster does with what was asked of a server, and locks it.
func (l *inside) finish(id cluster.InstanceID) {
	l.t.Helper()
	in, there := l.Local().Instance(id)
	switch {
	case !there:
	case in.Op != nil:
		l.carryOn(id, l.other)
	case in.Status.Task != cluster.TaskNone && in.Status.Task != cluster.TaskDeleting && in.Node != "":
		l.settle()
		l.obey(id)
	}
	l.settle()
	l.clearAway(id)
	if _, there := l.Local().Instance(id); there {
		l.Must(&cluster.UpdateInstance{ID: id, Locked: new("owner")})
	}
}

// A key that was used stands for one request. Another one under the same key is refused wherever it would be without: here, on a locked server.
func TestStates_AnotherRequestUnderAKeyIsNoRepetition(t *testing.T) {
	l := newStage(t)
	id := l.staged(0)
	l.key = "k"
	l.act("demo", "", id, object{"lock": nil}).want(202)
	l.act("demo", "", id, object{"lock": nil}).want(202)
	l.key = ""
	l.Must(&cluster.UpdateInstance{ID: id, Locked: new("admin")})
	l.key = "k"
	l.act("demo", "", id, object{"changePassword": object{"adminPass": "x"}}).fails(409, "Instance "+string(id)+" is locked")
	if l.password != "" {
		t.Error("the password of a locked server was set")
	}
}
