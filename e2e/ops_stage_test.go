package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
)

// actLimit bounds one operation on a guest, on a machine that is busy with others.
const actLimit = 3 * time.Minute

// opsImage, opsSmall and opsLarge are what the stories of operations make servers from.
const (
	opsImage = "counting"
	opsSmall = "tiny"  // 1 GiB of disk
	opsLarge = "roomy" // 2 GiB
)

// furnishOps makes an image of the guest that counts, two flavors, a network, and room for the administrator.
func (s *stage) furnishOps(small guest.Small) {
	s.t.Helper()
	via := s.Nodes[0]
	cidr, machine := s.Lab.GuestNetwork()
	subnet := strings.TrimSuffix(cidr, "0/24")
	for _, args := range []string{
		"image create --public --disk-format qcow2 --container-format bare --file " + small.DiskQcow2 + " " + opsImage,
		"network create --share --provider-network-type flat --provider-physical-network " + cloud.ProviderNetwork + " lan",
		"subnet create --network lan --no-dhcp --subnet-range " + cidr + " --gateway " + machine +
			" --allocation-pool start=" + subnet + "10,end=" + subnet + "250 lan",
	} {
		s.openstack(via, strings.Fields(args)...)
	}
	for name, size := range map[string][2]int{opsSmall: {128, 1}, opsLarge: {160, 2}} {
		s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/flavors", Body: map[string]any{
			"flavor": map[string]any{"name": name, "ram": size[0], "vcpus": 1, "disk": size[1]},
		}}, nil, http.StatusOK))
	}
	s.liftQuota(via)
}

// life is one guest, whose console tells what becomes of it.
type life struct {
	*stage
	server
	via *cloud.Node // that is asked for everything: not the guest's own
}

// begin boots a guest on a node, and waits until it counts.
func (s *stage) begin(name string, on *cloud.Node, more ...string) *life {
	s.t.Helper()
	via := s.other(on.Name())
	if via == nil {
		via = on
	}
	v := s.boot(via, opsImage, name, append([]string{"--availability-zone", "nova:" + on.Name()}, more...)...)
	return s.meet(via, v)
}

// meet waits until a guest counts.
func (s *stage) meet(via *cloud.Node, v server) *life {
	s.t.Helper()
	l := &life{stage: s, server: v, via: via}
	s.eventually(v.Name+" counts", bootLimit, func() error {
		c, err := l.hear()
		if err == nil && (!c.Ready || c.Count == 0 || len(c.Alarms) > 0) {
			err = fmt.Errorf("boots %+v, count %d, alarms %q", c.Boots, c.Count, c.Alarms)
		}
		return err
	})
	return l
}

// on is the guest for a part of the story.
func (l *life) on(s *stage) *life { return &life{stage: s, server: l.server, via: l.via} }

// hear reads the guest's console.
func (l *life) hear() (guest.Console, error) {
	text, err := l.console(l.via, l.ID)
	return guest.ReadConsole(text), err
}

// told is what the guest has told so far. Its node may need a moment to answer again after what was done to it.
func (l *life) told() (c guest.Console) {
	l.t.Helper()
	l.eventually(l.Name+" is heard", activeLimit, func() (err error) {
		c, err = l.hear()
		return err
	})
	if len(c.Alarms) > 0 {
		l.t.Fatalf("%s raised alarm: %q", l.Name, c.Alarms)
	}
	return c
}

// goesOn waits until the guest counts on in the same memory.
func (l *life) goesOn(before guest.Console) guest.Console {
	return l.becomes(guest.Console.WentOn, before)
}

// beginsAnew waits until the guest counts on after a new boot, with all on its disk that it had written.
func (l *life) beginsAnew(before guest.Console) guest.Console {
	return l.becomes(guest.Console.BeganAnew, before)
}

func (l *life) becomes(check func(now, before guest.Console) error, before guest.Console) (now guest.Console) {
	l.t.Helper()
	done := false
	defer func() {
		if !done {
			l.diagnose()
		}
	}()
	l.eventually(l.Name+" counts as it should", bootLimit, func() (err error) {
		if now, err = l.hear(); err != nil {
			return err
		}
		return check(now, before)
	})
	done = true
	l.alone()
	return now
}

// What a guest that does not do as it should is asked for, of libvirt and of QEMU: first what it is at, then whether it does anything and
// what its processor waits for, which is asked again after a blow that no guest can overhear.
var (
	diagnoses = [][]string{{"domstate", "--reason"}, {"domjobinfo"}, {"domblkerror"}, {"qemu-monitor-command", "--hmp", "info block-jobs"}}
	pulse     = [][]string{
		{"qemu-monitor-command", "--hmp", "info status"}, {"qemu-monitor-command", "--hmp", "info blockstats"},
		{"qemu-monitor-command", "--hmp", "info lapic"}, {"qemu-monitor-command", "--hmp", "info pic"},
		{"qemu-monitor-command", "--hmp", "info registers"},
	}
	blow = [][]string{{"inject-nmi"}}
)

// diagnose shows what the guest said last, and in what state its QEMU is.
func (l *life) diagnose() {
	l.sayings()
	all, err := l.Lab.QEMUs()
	if err != nil {
		l.t.Log(err)
	}
	for _, n := range l.Nodes {
		if !slices.ContainsFunc(all, func(q lab.QEMU) bool { return q.UUID == l.ID && q.Host == n.Name() }) {
			continue
		}
		for _, d := range slices.Concat(diagnoses, pulse, blow, pulse) {
			out, err := n.Host.Run(l.ctx, append([]string{"virsh", d[0], l.ID}, d[1:]...)...)
			l.t.Logf("%s: virsh %s: %s %v", n.Name(), strings.Join(d, " "), strings.TrimSpace(out), err)
		}
	}
	l.sayings()
}

// sayings shows the end of what the guest said beside its counts, and the last count.
func (l *life) sayings() {
	text, err := l.console(l.via, l.ID)
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "count ") })
	l.t.Logf("%s is at %d (%v); the end of what it said beside its counts:\n%s", l.Name, guest.ReadConsole(text).Count, err,
		strings.Join(lines[max(0, len(lines)-logLines):], "\n"))
}

// alone checks that the guest has one QEMU in the whole lab, on the node that the API names.
func (l *life) alone() {
	l.t.Helper()
	l.eventually(l.Name+" has one QEMU", activeLimit, func() error {
		all, err := l.Lab.QEMUs()
		if err != nil {
			return err
		}
		var on []string
		for _, q := range all {
			if q.UUID == l.ID {
				on = append(on, q.Host)
			}
		}
		if len(on) != 1 || on[0] != l.refresh().Host {
			return fmt.Errorf("its QEMUs run on %v, it is on %s", on, l.Host)
		}
		return nil
	})
}

// still checks that the guest does not count: its console says nothing more for a while.
func (l *life) still() guest.Console {
	l.t.Helper()
	before := l.told()
	time.Sleep(2 * time.Second)
	now := l.told()
	if now.Count != before.Count {
		l.t.Errorf("%s counted from %d to %d, and should stand still", l.Name, before.Count, now.Count)
	}
	return now
}

// refresh reads the server anew.
func (l *life) refresh() server {
	l.t.Helper()
	v, err := l.show(l.via, l.ID)
	l.must(err)
	l.server = v
	return v
}

// become waits until the server has a status and nothing is under way with it.
func (l *life) become(status string) {
	l.t.Helper()
	l.eventually(l.Name+" becomes "+status, actLimit, func() error {
		v, err := l.show(l.via, l.ID)
		if err != nil {
			return err
		}
		if v.Status != status || v.TaskState != "" {
			return fmt.Errorf("it is %s (%s) on %q: %s %s", v.Status, v.TaskState, v.Host, v.Fault.Message, v.Fault.Details)
		}
		l.server = v
		return nil
	})
}

// does runs "openstack server ..." and waits for the status that it leads to.
func (l *life) does(status string, args ...string) {
	l.t.Helper()
	l.openstack(l.via, append([]string{"server"}, args...)...)
	l.become(status)
}

// act asks for an action that the stock client has no command for, or where its answer counts.
func (l *life) act(name string, body any) (cloud.Answer, error) {
	return l.Ask(l.ctx, l.via, cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + l.ID + "/action",
		Header: map[string]string{"X-OpenStack-Nova-API-Version": "2.79"}, Body: map[string]any{name: body}})
}

// acts asks for an action that has to be accepted.
func (l *life) acts(name string, body any) cloud.Answer {
	l.t.Helper()
	a, err := l.act(name, body)
	l.must(errors.Join(err, a.Want(http.StatusAccepted, http.StatusOK)))
	return a
}

// refused asks for an action that cannot be.
func (l *life) refused(status int, name string, body any) {
	l.t.Helper()
	a, err := l.act(name, body)
	l.must(err)
	if a.Status != status {
		l.t.Errorf("%s is answered with %d %s, want %d", name, a.Status, a.Body, status)
	}
}

// took says how long a part of the story took.
func (s *stage) took(what string, began time.Time) {
	s.t.Helper()
	s.t.Logf("%s: %.1f s", what, time.Since(began).Seconds())
}

// poweredOffBefore tells whether a guest said that it was asked to power off, just before a boot.
func poweredOffBefore(console, boot string) bool {
	before, _, found := strings.Cut(console, "id="+boot)
	off, begun := strings.LastIndex(before, "KILONOVA-GUEST POWEROFF"), strings.LastIndex(before, "count ")
	return found && off > begun
}

// restartWith starts a daemon anew with failpoints; it goes on without them once it has died of one.
func (s *stage) restartWith(n *cloud.Node, points string) {
	s.t.Helper()
	n.Env = nil
	if points != "" {
		n.Env = []string{"KILONOVA_FAILPOINTS=" + points}
	}
	s.must(n.Daemon.Kill())
	s.must(n.Start(s.ctx))
	s.must(s.WaitEnabled(s.ctx))
}

// dies waits for a daemon's end.
func (s *stage) dies(n *cloud.Node) {
	s.t.Helper()
	select {
	case <-n.Daemon.Done():
	case <-time.After(actLimit):
		s.t.Fatalf("the daemon of %s never came by its failpoint", n.Name())
	}
}
