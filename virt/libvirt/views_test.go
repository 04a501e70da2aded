package libvirt

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// What was read is remembered while events are heard, for the state of power in which it was read.
func TestViews_RememberWhileEventsAreHeard(t *testing.T) {
	var s views
	want := domainView{Type: "qemu"}
	read := func(active bool) (remembered bool) {
		t.Helper()
		v, ticket := s.get(testID, active)
		if ticket == nil {
			return v.Type == want.Type
		}
		s.put(testID, ticket, want)
		return false
	}
	for range 2 {
		if read(true) {
			t.Error("it remembers, deaf")
		}
	}
	s.listen(true)
	if read(true) || !read(true) {
		t.Error("it does not remember")
	}
	if read(false) || !read(false) {
		t.Error("it takes a running domain's devices for those of one that is off")
	}
	s.forget(testID)
	if read(false) {
		t.Error("it remembers what it was told to forget")
	}
	s.known[testID].read = time.Now().Add(-viewLife)
	if read(false) {
		t.Error("it believes an old view")
	}
	s.listen(false)
	for range 2 {
		if read(false) {
			t.Error("it remembers, deaf again")
		}
	}
}

// A domain changes between the look at it and the end of the look. What was seen is not believed later.
func TestViews_AChangeDuringTheLookIsNotMissed(t *testing.T) {
	var s views
	s.listen(true)
	_, ticket := s.get(testID, true)
	s.forget(testID)
	s.put(testID, ticket, domainView{Type: "old"})
	if _, ticket := s.get(testID, true); ticket == nil {
		t.Error("the old view is believed")
	}
}

// What libvirt's XML says of a domain may come from anybody.
func FuzzParseView(f *testing.F) {
	text, err := domainXML(testGuest(), testPlatforms["kvm"], testPlace)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(`<domain><devices><disk><alias name="ua-vol-x"/></disk><interface><mac address="AA"/></interface></devices></domain>`)
	f.Add(`<domain`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseView(text)
		if err != nil {
			return
		}
		var dom virt.Domain
		v.fill(&dom)
		if s := v.stamp(testID); s != (virt.Stamp{}) && s.Instance != testID {
			t.Errorf("stamp of another instance: %+v", s)
		}
	})
}

// BenchmarkDomains lists 300 domains, which every pass of a node does.
func BenchmarkDomains(b *testing.B) {
	t := &testing.T{}
	d := libvirtd(t)
	driver, err := New(Config{Socket: d.socket, URI: "test:///default", DataDir: b.TempDir(), ClusterID: testCluster,
		VirtType: QEMU, Disks: plainDisks{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer driver.Close()
	for range 300 {
		g := virt.Guest{VCPUs: 1, MemoryMiB: 32, Root: virt.RootDisk{SizeGiB: 1}}
		g.Stamp = virt.Stamp{Cluster: testCluster, Instance: cluster.InstanceID(uuid.NewString()), Generation: 1, Epoch: 1}
		if err := driver.Build(b.Context(), g); err != nil {
			b.Fatal(err)
		}
	}
	for name, forget := range map[string]bool{"remembered": false, "afresh": true} {
		b.Run(fmt.Sprintf("300/%s", name), func(b *testing.B) {
			for b.Loop() {
				if forget {
					driver.views.forget("")
				}
				if _, err := driver.Domains(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
