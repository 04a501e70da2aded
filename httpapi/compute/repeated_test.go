package compute_test

import (
	"net/http"
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
