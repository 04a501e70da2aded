package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// Three machines have guests that must not, or must, be together; one guest grows; and one machine loses power for good, as far as
// anybody knows.
func TestOperations_Away(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 3})
	s.furnishOps(small)
	l := s.begin("moved", s.Nodes[1])
	s.run("it grows, and sees its larger disk", func(s *stage) { l.on(s).grow(l) })
	s.run("groups keep apart and together", (*stage).groups)
	s.run("a request for several makes as many", (*stage).several)
	s.run("it is evacuated from a dead host, which comes back", func(s *stage) { l.on(s).evacuate() })
}

// The guest moves to a larger flavor, and has all that was on its disk, which is larger now. It stays with that. Its old disk goes.
func (l *life) grow(of *life) {
	before := l.told()
	l.openstack(l.via, "server", "resize", "--flavor", opsLarge, l.ID)
	l.become("VERIFY_RESIZE")
	l.beginsAnew(before)
	l.device("a root disk of 2 GiB", func(d guest.Device) bool { return d.Bytes == 2<<30 })
	before = l.told()
	l.does("ACTIVE", "resize", "confirm", l.ID)
	l.goesOn(before)
	l.elsewhereNothing()
	of.server = l.server
}

// elsewhereNothing waits until nothing of any guest is on a host that is not this guest's.
func (l *life) elsewhereNothing() {
	l.t.Helper()
	for _, n := range l.Nodes {
		if n.Name() != l.Host {
			l.eventually("nothing is left on "+n.Name(), actLimit, func() error { return l.noGuests(n) })
		}
	}
}

// Three servers that exclude each other, asked for at once through three nodes, are on three nodes, and a fourth finds none; two
// that belong together are on one.
func (s *stage) groups() {
	apart := s.group("anti-affinity")
	ids := s.together(4, map[string]any{"group": apart})
	on, refused := map[string]bool{}, 0
	for _, id := range ids {
		v := s.settled(id)
		if v.Status == "ERROR" {
			refused++
			continue
		}
		if on[v.Host] {
			s.t.Errorf("two that exclude each other are on %s", v.Host)
		}
		on[v.Host] = true
	}
	if len(on) != 3 || refused != 1 {
		s.t.Errorf("of four that exclude each other, %d run and %d were refused", len(on), refused)
	}
	s.remove(ids)

	ids = s.together(2, map[string]any{"group": s.group("affinity")})
	if a, b := s.settled(ids[0]), s.settled(ids[1]); a.Status != "ACTIVE" || a.Host != b.Host {
		s.t.Errorf("two that belong together are on %s (%s) and %s (%s)", a.Host, a.Status, b.Host, b.Status)
	}
	s.remove(ids)
}

func (s *stage) group(policy string) string {
	s.t.Helper()
	return anyUUID.FindString(s.openstack(s.Nodes[0], "server", "group", "create", "--policy", policy, "-f", "value", "-c", "id", policy))
}

// together asks for servers at once, each through another node.
func (s *stage) together(count int, hints map[string]any) []string {
	s.t.Helper()
	type made struct {
		id  string
		err error
	}
	all := make(chan made, count)
	body := map[string]any{"server": s.plainServer("grouped"), "os:scheduler_hints": hints}
	for i := range count {
		go func() {
			var answer struct{ Server struct{ ID string } }
			err := s.Do(s.ctx, s.Nodes[i%len(s.Nodes)], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: body},
				&answer, http.StatusAccepted)
			all <- made{answer.Server.ID, err}
		}()
	}
	var ids []string
	for range count {
		m := <-all
		s.must(m.err)
		ids = append(ids, m.id)
	}
	return ids
}

// plainServer is a request for a server of the stories of operations.
func (s *stage) plainServer(name string) map[string]any {
	s.t.Helper()
	var found struct {
		Images   []struct{ ID string }
		Networks []struct{ ID string }
	}
	s.must(s.Get(s.ctx, s.Nodes[0], "/image/v2/images?name="+opsImage, &found))
	s.must(s.Get(s.ctx, s.Nodes[0], "/network/v2.0/networks?name=lan", &found))
	return map[string]any{"name": name, "imageRef": found.Images[0].ID, "flavorRef": s.flavor(opsSmall),
		"networks": []any{map[string]string{"uuid": found.Networks[0].ID}}}
}

// settled waits until a server runs or has failed.
func (s *stage) settled(id string) (v server) {
	s.t.Helper()
	s.eventually("server "+id+" runs or fails", actLimit, func() (err error) {
		v, err = s.show(s.Nodes[0], id)
		if err != nil || v.Status == "BUILD" || v.TaskState != "" {
			return errors.Join(err, fmt.Errorf("it is %s (%s)", v.Status, v.TaskState))
		}
		return nil
	})
	return v
}

func (s *stage) remove(ids []string) {
	s.t.Helper()
	s.openstack(s.Nodes[0], append([]string{"server", "delete", "--wait"}, ids...)...)
}

// One request makes two to four servers: four, since there is room. A request for more than the quota has is refused whole.
func (s *stage) several() {
	one := s.plainServer("several")
	one["min_count"], one["max_count"] = 2, 4
	s.must(s.Do(s.ctx, s.Nodes[2], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": one}},
		nil, http.StatusAccepted))
	all, err := s.servers(s.Nodes[0])
	s.must(err)
	var ids, names []string
	for _, v := range all {
		if strings.HasPrefix(v.Name, "several") {
			ids, names = append(ids, v.ID), append(names, v.Name)
		}
	}
	slices.Sort(names)
	if want := []string{"several-1", "several-2", "several-3", "several-4"}; !slices.Equal(names, want) {
		s.t.Errorf("the servers are %v, want %v", names, want)
	}
	for _, id := range ids {
		if v := s.settled(id); v.Status != "ACTIVE" {
			s.t.Errorf("%s is %s: %+v", v.Name, v.Status, v.Fault)
		}
	}
	s.remove(ids)
}

// The guest's host loses power. While it is only silent the guest cannot be evacuated; when the operator says that it is dead, the guest
// is built anew elsewhere, with its ID and address. When the dead host comes back, it does not run the guest, and its old disk goes.
func (l *life) evacuate() {
	dead := l.node(l.Host)
	l.via = l.other(dead.Name())
	address := l.ip()
	l.must(dead.Host.PowerCut())
	l.eventually("the cluster sees that the host is gone", activeLimit, func() error {
		members, err := l.Members(l.ctx, l.via)
		for _, m := range members {
			if m.Name == dead.Name() && m.State == "down" {
				return nil
			}
		}
		return fmt.Errorf("members: %+v, %v", members, err)
	})
	l.openstack(l.via, "compute", "service", "set", "--down", dead.Name(), "nova-compute")
	// "openstack server evacuate" of version 6.0 asks for it, and then falls over the answer that every cloud gives.
	_, err := l.Client(l.ctx, l.via, "nova", "evacuate", l.ID)
	l.must(err)
	l.eventually("the guest is elsewhere", actLimit, func() error {
		if v := l.refresh(); v.Host == dead.Name() || v.Status != "ACTIVE" || v.TaskState != "" {
			return fmt.Errorf("it is %s (%s) on %s: %s", v.Status, v.TaskState, v.Host, v.Fault.Message)
		}
		return nil
	})
	l.waitConsole(l.via, l.ID, `READY uuid=`+l.ID+` ip=`+address, bootLimit)
	before := l.meet(l.via, l.refresh()).told()

	l.must(dead.PowerOn(l.ctx))
	l.must(dead.WaitReady(l.ctx))
	l.openstack(l.via, "compute", "service", "set", "--up", dead.Name(), "nova-compute")
	l.must(l.WaitEnabled(l.ctx))
	l.goesOn(before)
	l.elsewhereNothing()
}
