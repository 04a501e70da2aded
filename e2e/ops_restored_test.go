package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// A server with disks of every kind of its own, and with an agent, grows where it is; it is deleted and restored, all of which is on the
// record.
func TestOperations_Restored(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 2, Flags: []string{"--deferred-delete", "10m", "--resize-confirm", "15s"}})
	s.furnishOps(small)
	s.furnishRich()
	l := s.beginRich("restored", s.Nodes[1])
	s.run("it has an ephemeral disk and swap space", func(s *stage) { l.on(s).ownDisks() })
	s.run("its agent is asked", func(s *stage) { l.on(s).agent() })
	s.run("it grows where it is, and stays so", func(s *stage) { l.on(s).growInPlace() })
	s.run("it is deleted and restored", func(s *stage) { l.on(s).restore() })
	s.run("all that is on the record", func(s *stage) { l.on(s).record() })
}

// A deleted server can be restored for a while, and finds its disk as it was.
func (l *life) restore() {
	before := l.told()
	l.openstack(l.via, "server", "delete", l.ID)
	l.become("SOFT_DELETED")
	l.eventually("its guest is off", activeLimit, func() error {
		if all, err := l.Lab.QEMUs(); err != nil || len(all) > 0 {
			return fmt.Errorf("there are %+v, %v", all, err)
		}
		return nil
	})
	l.does("ACTIVE", "restore", l.ID)
	l.beginsAnew(before)
}

// Every action that the story asked for is listed, and all have ended well.
func (l *life) record() {
	var list struct {
		InstanceActions []struct {
			Action    string
			Message   *string
			RequestID string `json:"request_id"`
		}
	}
	l.must(l.Get(l.ctx, l.via, "/compute/v2.1/servers/"+l.ID+"/os-instance-actions", &list))
	var names []string
	for _, a := range list.InstanceActions {
		names = append(names, a.Action)
		if a.Message != nil && a.Action != "changePassword" {
			l.t.Errorf("%s has the message %q", a.Action, *a.Message)
		}
	}
	for _, want := range []string{"create", "changePassword", "createImage", "resize", "confirmResize", "softDelete", "restore"} {
		if !slices.Contains(names, want) {
			l.t.Errorf("%s is not on the record: %v", want, names)
		}
	}
	if out := l.openstack(l.via, "server", "event", "list", l.ID); !strings.Contains(out, "restore") {
		l.t.Errorf("the client lists %s", out)
	}
}
