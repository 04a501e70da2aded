package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// leaseDead is after how long a silent node is taken for dead in these stories.
const leaseDead = 7 * time.Second

// A guest asks to be started elsewhere when its node dies, and its disk is in a directory that all nodes have. Its node loses power, is cut
// off, and its daemon stands still: each time the guest comes up elsewhere with all that it had written, and at no instant has it two QEMUs.
func TestHA(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 3, Flags: []string{"--shared-dir", t.TempDir()}})
	s.furnishOps(small)
	s.kilonova(s.Nodes[0], "cluster", "settings", "--lease-stop", "4s", "--lease-kill", "2s", "--lease-dead", leaseDead.String())
	var l *life
	var w *witness
	s.run("its node guards it", func(s *stage) {
		l = s.guarded()
		w = l.witnessed()
	})
	defer w.close()
	s.run("its node loses power", func(s *stage) { l.on(s).losesPower() })
	s.run("its node is cut off", func(s *stage) { l.on(s).cutOff() })
	s.run("the daemon of its node stands still", func(s *stage) { l.on(s).daemonStands() })
	s.run("an operator knows that its node is dead", func(s *stage) { l.on(s).confirmed() })
	s.run("it never had two QEMUs", func(s *stage) { s.must(w.close()) })
}

// guarded boots a guest from a shared volume that is to be started elsewhere when its node dies.
func (s *stage) guarded() *life {
	one := s.plainServer("precious")
	of := root("image", s.imageID(opsImage), true)
	of["volume_size"], of["volume_type"] = 1, "shared"
	one["imageRef"], one["block_device_mapping_v2"], one["metadata"] = "", []disk{of}, map[string]string{"kilonova:ha": "true"}
	id := s.create(s.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": one},
		Header: map[string]string{"X-OpenStack-Nova-API-Version": "2.79"}})
	l := s.arrived(id)
	l.isGuarded()
	return l
}

// isGuarded waits until the guest's node has said that it guards it, and its watchdog has come up.
func (l *life) isGuarded() {
	l.t.Helper()
	l.eventually("its node guards it", activeLimit, func() error {
		on := l.node(l.refresh().Host)
		said, err := on.Kilonova(l.ctx, "node", "show", on.Name())
		if err == nil && !strings.Contains(said, `"guarded": 1`) {
			err = fmt.Errorf("node show says %s", said)
		}
		return err
	})
	if out, err := l.node(l.Host).Host.Run(l.ctx, "pgrep", "-f", "node watchdog"); err != nil {
		l.t.Fatalf("no watchdog runs: %v %s", err, out)
	}
}

// witness counts the QEMUs of a guest again and again.
type witness struct {
	once sync.Once
	stop func()
	seen error
}

func (l *life) witnessed() *witness {
	ctx, cancel := context.WithCancel(l.ctx)
	w := &witness{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if on := l.hosts(); len(on) > 1 && w.seen == nil {
				w.seen = fmt.Errorf("at %v it ran on %v", time.Now(), on)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	w.stop = func() { cancel(); <-done }
	return w
}

func (w *witness) close() error {
	if w == nil {
		return nil
	}
	w.once.Do(w.stop)
	return w.seen
}

// hosts are those on which a QEMU of the guest is.
func (l *life) hosts() (on []string) {
	all, err := l.Lab.QEMUs()
	if err != nil {
		return nil
	}
	for _, q := range all {
		if q.UUID == l.ID {
			on = append(on, q.Host)
		}
	}
	return on
}

// comesUpElsewhere waits until the guest counts on another host than before, with its disk as it was, and tells how long that took.
func (l *life) comesUpElsewhere(dead *cloud.Node, began time.Time) {
	l.t.Helper()
	l.via = l.other(dead.Name())
	l.eventually("the guest has a QEMU elsewhere", actLimit, func() error {
		if on := l.hosts(); len(on) != 1 || on[0] == dead.Name() {
			return fmt.Errorf("its QEMUs are on %v", on)
		}
		return nil
	})
	l.took("until it had a QEMU elsewhere, of which "+leaseDead.String()+" were to be waited", began)
	l.eventually("the guest is elsewhere", actLimit, func() error {
		if v := l.refresh(); v.Host == dead.Name() || v.Status != "ACTIVE" || v.TaskState != "" {
			return fmt.Errorf("it is %s (%s) on %s: %s", v.Status, v.TaskState, v.Host, v.Fault.Message)
		}
		return nil
	})
}

// back waits until a node that was taken for dead is a node like others, and has nothing of the guest.
func (l *life) back(n *cloud.Node) {
	l.t.Helper()
	l.eventually(n.Name()+" is back", actLimit, func() error {
		said, err := l.via.Kilonova(l.ctx, "node", "show", n.Name())
		if err == nil && (strings.Contains(said, `"lost"`) || !strings.Contains(said, `"status": "enabled"`)) {
			err = fmt.Errorf("node show says %s", said)
		}
		return err
	})
	l.elsewhereNothing()
	l.isGuarded()
}

func (l *life) losesPower() {
	dead := l.node(l.refresh().Host)
	before := l.told()
	began := time.Now()
	l.must(dead.Host.PowerCut())
	l.comesUpElsewhere(dead, began)
	now := l.beginsAnew(before)
	l.must(dead.PowerOn(l.ctx))
	l.must(dead.WaitReady(l.ctx))
	l.back(dead)
	l.goesOn(now)
}

// The host is cut off from the others. It ends the guest itself, before it is started elsewhere.
func (l *life) cutOff() {
	dead := l.node(l.refresh().Host)
	before := l.told()
	began := time.Now()
	l.must(dead.Host.Unplug())
	l.eventually("its node has ended it", leaseDead, func() error {
		if on := l.hosts(); len(on) > 0 && on[0] == dead.Name() {
			return fmt.Errorf("it runs on %v", on)
		}
		return nil
	})
	l.took("until its node had ended it", began)
	l.comesUpElsewhere(dead, began)
	now := l.beginsAnew(before)
	l.must(dead.Host.Plug())
	l.back(dead)
	l.goesOn(now)
}

// The daemon is stopped. The watchdog ends the guest, without libvirt.
func (l *life) daemonStands() {
	dead := l.node(l.refresh().Host)
	before := l.told()
	began := time.Now()
	l.must(dead.Daemon.Signal(syscall.SIGSTOP))
	l.comesUpElsewhere(dead, began)
	now := l.beginsAnew(before)
	l.must(dead.Daemon.Signal(syscall.SIGCONT))
	l.back(dead)
	l.goesOn(now)
}

// The host loses power, and an operator says so: nobody waits for a lease. Of a node that answers that is refused.
func (l *life) confirmed() {
	dead := l.node(l.refresh().Host)
	before := l.told()
	via := l.other(dead.Name())
	if out, err := via.Kilonova(l.ctx, "node", "confirm-dead", "--yes", dead.Name()); err == nil {
		l.t.Fatalf("a node that answers was taken for dead: %s", out)
	}
	l.kilonova(via, "cluster", "settings", "--lease-stop", "5m", "--lease-kill", "10s")
	l.eventually("all nodes have the longer lease", activeLimit, func() error {
		said, err := via.Kilonova(l.ctx, "cluster", "settings")
		if err == nil && strings.Contains(said, "not heard of a change") {
			err = fmt.Errorf("it says %s", said)
		}
		return err
	})
	began := time.Now()
	l.must(dead.Host.PowerCut())
	l.eventually("the operator is believed", actLimit, func() error {
		_, err := via.Kilonova(l.ctx, "node", "confirm-dead", "--yes", dead.Name())
		return err
	})
	l.comesUpElsewhere(dead, began)
	l.beginsAnew(before)
	if out, err := via.Kilonova(l.ctx, "cluster", "check"); err == nil {
		l.t.Errorf("with one node of three off, the loss of another hurts nobody: %s", out)
	}
}
