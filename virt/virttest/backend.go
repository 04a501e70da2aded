package virttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Backend is a driver under test and the hypervisor behind it. Setup functions register their own clean-up
// with the test, domains that the story leaves included.
type Backend struct {
	Driver    virt.Driver
	ClusterID string

	// Guards says that the driver itself refuses orders against domains without its cluster's stamp, and IDs
	// that are no UUIDs, even if its caller makes a mistake. Drivers of real guests must.
	Guards bool

	// Guest gives a small guest that this backend can build; the story sets its stamp and name.
	Guest func(t *testing.T) virt.Guest

	// Reopen closes Driver and gives another one over the same hypervisor and files, as after a restart of
	// the node.
	Reopen func(t *testing.T) virt.Driver

	// Disk gives a fingerprint of the instance's root disk: the same until somebody overwrites or replaces
	// it. "" means that there is none. Nil: the backend keeps no disks that can be looked at.
	Disk func(t *testing.T, id cluster.InstanceID) string

	// Stranger makes a domain that carries no stamp of ours, or that of another cluster, and powers it on.
	// Nil: it cannot be made.
	Stranger func(t *testing.T, id cluster.InstanceID, stamp virt.Stamp)

	// Die ends the guest's process as a crash does. Nil: there is no process.
	Die func(t *testing.T, id cluster.InstanceID)

	// Hang makes the hypervisor accept calls and never answer, until resume is called. Nil: it cannot hang.
	Hang func(t *testing.T) (resume func())

	// What follows says what the backend has beyond that. Zero: nothing, and the stories about it are skipped.

	Has Abilities

	// Volume gives a new volume that can be attached, and NIC a new card.
	Volume func(t *testing.T) virt.Disk
	NIC    func(t *testing.T) virt.NIC

	// Memory gives a fingerprint of what a running guest remembers: the same as long as it lives in the same boot,
	// wherever it was moved to, and another one in another boot.
	Memory func(t *testing.T, id cluster.InstanceID) string

	// Epochs gives the epochs for which the instance has disks, ascending.
	Epochs func(t *testing.T, id cluster.InstanceID) []uint64

	// Mark writes something onto the root disk of a guest that is off, which is off again afterwards, and tells what.
	// Marked tells whether it stands on the disk in the qcow2 image at path.
	Mark   func(t *testing.T, id cluster.InstanceID) string
	Marked func(t *testing.T, path, mark string) bool

	// Peer opens the driver of a second host. The base image of Guest stands there in the same place.
	Peer func(t *testing.T) virt.Driver

	// Connect fills in the landing's end points, through which Driver reaches the peer for a live migration.
	Connect func(t *testing.T, peer virt.Driver, l *virt.Landing)

	// Prints is text that the guest writes to its serial port soon after it starts; "": it has none.
	Prints string
}

// Abilities are what a backend can do that another may lack.
type Abilities struct {
	Saves   bool // it saves memory
	Hotplug bool // devices come and go while a guest runs
	Files   bool // the guests' disks are real ones, or records of them: they grow, and there can be several
	Inside  bool // one can look into running guests; they run no agent

	// Consoles are those that Dial connects to. What it connects to talks first.
	Consoles []virt.ConsoleKind
}

// Setup makes a fresh backend for one story.
type Setup func(t *testing.T) *Backend

// patience bounds everything that a story waits for.
const patience = 30 * time.Second

// story is the state of one running story.
type story struct {
	*testing.T
	*Backend
	ctx context.Context
}

func begin(t *testing.T, setup Setup) *story {
	b := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	t.Cleanup(cancel)
	return &story{T: t, Backend: b, ctx: ctx}
}

// newID gives an instance ID that no other story has.
func newID() cluster.InstanceID { return cluster.InstanceID(uuid.NewString()) }

// guest gives a guest stamped with the first generation and epoch.
func (s *story) guest(id cluster.InstanceID) virt.Guest {
	g := s.Guest(s.T)
	g.Stamp = virt.Stamp{Cluster: s.ClusterID, Instance: id, Generation: 1, Epoch: 1}
	if g.Name == "" {
		g.Name = "guest of " + s.Name()
	}
	return g
}

// must fails the story when an act that has to succeed did not.
func (s *story) must(act string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", act, err)
	}
}

// built builds a new guest and gives its ID.
func (s *story) built() cluster.InstanceID {
	s.Helper()
	id := newID()
	s.must("build", s.Driver.Build(s.ctx, s.guest(id)))
	return id
}

// started builds a new guest, starts it and gives its ID.
func (s *story) started() cluster.InstanceID {
	s.Helper()
	id := s.built()
	s.must("start", s.Driver.Start(s.ctx, id))
	return id
}

// domain gives what the driver reports of an instance; ok is false when it reports nothing. Two domains under
// one ID fail the story.
func (s *story) domain(id cluster.InstanceID) (dom virt.Domain, ok bool) {
	s.Helper()
	list, err := s.Driver.Domains(s.ctx)
	s.must("list domains", err)
	for _, d := range list {
		if d.ID == id {
			if ok {
				s.Fatalf("%s is listed twice", id)
			}
			dom, ok = d, true
		}
	}
	return dom, ok
}

// expect waits until the instance has the power state.
func (s *story) expect(id cluster.InstanceID, want virt.Power) virt.Domain {
	s.Helper()
	var last virt.Domain
	s.eventually("the power state", func() bool {
		d, ok := s.domain(id)
		last = d
		return ok && d.Power == want
	})
	if last.Power != want {
		s.Fatalf("power is %v (%s), want %v", last.Power, last.Reason, want)
	}
	return last
}

// eventually waits for a condition, as long as patience lasts.
func (s *story) eventually(what string, holds func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			s.Fatalf("%s did not come about within %v", what, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// errorIs fails the story when err is not the error that the contract names.
func (s *story) errorIs(act string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got %v, want an error that wraps %q", act, err, want)
	}
}
