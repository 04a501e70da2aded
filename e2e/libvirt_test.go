package e2e

import (
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/lab"
)

// A machine joins whose libvirtd does not run. It becomes a member all the same, says what is missing, and is given no instances, not even
// when one is meant for it. When libvirtd is started, it takes them, without anything else being done.
func TestLibvirtNotRunning_TheNodeJoinsAndWaits(t *testing.T) {
	s := newStage(t, cloud.Options{Nodes: 1, DiskMiB: 1024})
	dry, err := s.AddHost(lab.HostOptions{DiskMiB: 2048})
	s.must(err)
	s.must(s.Join(s.ctx, dry))
	s.eventually("the cluster says what is missing", memberLimit, func() error { return s.hasStatus(dry, "not ready", "libvirtd") })
	for _, want := range []string{"not ready", "is libvirtd running?"} {
		if shown := s.kilonova(dry, "node", "show", dry.Name()); !strings.Contains(shown, want) {
			t.Errorf("node show lacks %q: %s", want, shown)
		}
	}
	p := s.supply(s.Nodes[0])
	refused := s.waitStatus(dry, s.create(dry, p.createOn(dry, "too early")), "ERROR", memberLimit)
	if reason := refused.Fault.Message + refused.Fault.Details; !strings.Contains(reason, dry.Name()) {
		t.Errorf("the fault of the server says nothing about %s: %s", dry.Name(), reason)
	}

	s.must(dry.StartLibvirt(s.ctx))
	s.must(s.WaitEnabled(s.ctx))
	v := s.waitStatus(dry, s.create(dry, p.createOn(dry, "in time")), "ACTIVE", memberLimit)
	if v.Host != dry.Name() {
		t.Errorf("the server runs on %s", v.Host)
	}
}
