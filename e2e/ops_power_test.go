package e2e

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// A guest is stopped, started, rebooted, paused, suspended and asked for, always through the node that it is not on. What
// keeps its memory keeps all of it, what does not finds all on its disk.
func TestOperations_Power(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 2})
	s.furnishOps(small)
	l := s.begin("powered", s.Nodes[1])
	s.run("it is stopped and started", func(s *stage) { l.on(s).stopAndStart() })
	s.run("it is rebooted softly and hard", func(s *stage) { l.on(s).reboot() })
	s.run("it is paused and goes on", func(s *stage) { l.on(s).pause() })
	s.run("its state is set by hand, and it does not notice", func(s *stage) { l.on(s).resetState() })
	s.run("it is suspended and goes on, also after a power cut", func(s *stage) { l.on(s).suspend() })
}

// The guest is asked to power off, and does; later it finds all on its disk.
func (l *life) stopAndStart() {
	before := l.told()
	l.does("SHUTOFF", "stop", l.ID)
	off := l.told()
	if !off.Off {
		l.t.Error("the guest was not asked to power off")
	}
	l.refused(409, "os-stop", nil)
	l.refused(409, "pause", nil)
	l.does("ACTIVE", "start", l.ID)
	l.beginsAnew(before)
}

// A soft reboot asks the guest first, a hard one does not.
func (l *life) reboot() {
	before := l.told()
	l.does("ACTIVE", "reboot", "--soft", l.ID)
	softly := l.beginsAnew(before)
	if text, err := l.console(l.via, l.ID); err != nil || !poweredOffBefore(text, softly.Last().ID) {
		l.t.Errorf("before boot %s the guest was not asked to power off: %v", softly.Last().ID, err)
	}
	l.does("ACTIVE", "reboot", "--hard", l.ID)
	l.beginsAnew(softly)
}

// A paused guest stands still, and goes on where it stood.
func (l *life) pause() {
	before := l.told()
	l.does("PAUSED", "pause", l.ID)
	l.still()
	l.refused(409, "suspend", nil)
	l.does("ACTIVE", "unpause", l.ID)
	l.goesOn(before)
}

// An operator says that the server is in error, and later that it is not. Meanwhile it is refused what only an active one may do, and the guest goes on all the time.
func (l *life) resetState() {
	before := l.told()
	l.does("ERROR", "set", "--state", "error", l.ID)
	before = l.goesOn(before)
	l.refused(409, "pause", nil)
	l.does("ACTIVE", "set", "--state", "active", l.ID)
	l.goesOn(before)
}

// A suspended guest has no QEMU; resumed, it goes on in the same memory. The second time its host loses power meanwhile.
func (l *life) suspend() {
	for _, cut := range []bool{false, true} {
		began := time.Now()
		before := l.told()
		l.does("SUSPENDED", "suspend", l.ID)
		if all, err := l.Lab.QEMUs(); err != nil || len(all) > 0 {
			l.t.Errorf("a suspended guest has a QEMU: %+v, %v", all, err)
		}
		l.took("suspended", began)
		if cut {
			host := l.node(l.Host)
			l.must(host.Host.PowerCut())
			l.must(host.PowerOn(l.ctx))
			l.must(l.WaitEnabled(l.ctx))
			l.become("SUSPENDED")
		}
		began = time.Now()
		l.does("ACTIVE", "resume", l.ID)
		l.goesOn(before)
		l.took("resumed", began)
	}
}
