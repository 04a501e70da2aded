package lead

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/placement"
)

// book is the leader's replica in a test: the state, in memory.
type book struct {
	t       *testing.T
	mu      sync.Mutex
	state   *cluster.State
	index   uint64
	view    *cluster.View
	changed chan struct{}
	refuse  *cluster.Error // what every proposal is answered with

	proposals int
}

const soleNode cluster.NodeID = "6a3c8a52-0000-4000-8000-000000000001"

func newBook(t *testing.T) *book {
	b := &book{t: t, state: cluster.NewState(), changed: make(chan struct{})}
	b.apply(&cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "c1", CACert: []byte("c"), CAKey: []byte("k"), GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "k", Seed: make([]byte, 32)}}},
		Node: cluster.Node{ID: soleNode, Name: "n1", Address: "192.0.2.1", Zone: "nova", Commands: cluster.CommandVersion,
			Capacity: cluster.Capacity{VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100, VCPURatio: 1000, MemoryRatio: 1000, DiskRatio: 1000},
			Host:     cluster.HostFacts{Type: "fake", Arch: "x86_64", Ready: true}},
		Roles:   []cluster.Role{{ID: "r1", Name: "admin", BuiltIn: true}},
		Project: cluster.Project{ID: "p1", Name: "admin"}, Admin: cluster.User{ID: "u1", Name: "admin", PasswordHash: "x"},
	})
	return b
}

func (b *book) apply(op cluster.Op) cluster.Result {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	res, err := b.state.Apply(b.index, []cluster.Command{{Time: cluster.At(time.Now()), Op: op}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.publish()
	return res[0]
}

func (b *book) publish() {
	b.view = b.state.View()
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *book) Latest() (*cluster.View, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view, b.changed
}

func (b *book) View() *cluster.View { v, _ := b.Latest(); return v }

// Propose answers refusals as the replica does: the index moves, and everybody who waits for a change wakes.
func (b *book) Propose(_ context.Context, c cluster.Command) (cluster.Result, error) {
	b.mu.Lock()
	b.proposals++
	if b.refuse != nil {
		b.publish()
		b.mu.Unlock()
		return cluster.Result{Err: b.refuse}, nil
	}
	b.mu.Unlock()
	return b.apply(c.Op), nil
}

// lead runs a term of leadership for a while.
func (b *book) lead(d time.Duration, hints map[cluster.NodeID]placement.Hint) {
	b.leadMoves(d, Lifecycle{}, hints)
}

func (b *book) waiting(id cluster.InstanceID) {
	b.t.Helper()
	res := b.apply(&cluster.CreateInstances{
		Request: "req-1", Project: "p1", User: "u1",
		Spec:  cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}},
		Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web"}},
	})
	if res.Err != nil {
		b.t.Fatal(res.Err)
	}
}

// few is how often something hopeless may be tried in ten minutes when each pause is twice the last, up to half a minute.
const few = 40

// The state refuses a placement, whatever the reason. Each attempt is an entry in everybody's log and wakes the leader, so it must not
// try again at once, for ever. When the reason is gone, the instance is placed.
func TestLead_RefusedPlacementIsTriedAgainWithPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		b.waiting("11111111-1111-4111-8111-111111111111")
		b.refuse = cluster.Errorf(cluster.NoRoom, "no")
		b.lead(10*time.Minute, nil)
		if b.proposals == 0 || b.proposals > few {
			t.Errorf("%d attempts in ten minutes", b.proposals)
		}
		b.refuse = nil
		b.lead(time.Minute, nil)
		if in, ok := b.View().Instance("11111111-1111-4111-8111-111111111111"); !ok || in.Node != soleNode {
			t.Errorf("in the end: %+v", in)
		}
	})
}

// Nothing is wanted of the leader: it must not keep anybody busy.
func TestLead_ProposesNothingWhenNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		b.lead(10*time.Minute, nil)
		if b.proposals > 0 {
			t.Errorf("%d proposals", b.proposals)
		}
	})
}

// The choice of a command that is asked for again at another leader is made afresh: what the first one chose must not stick, and what it
// held back for it must be free again.
func TestChooser_PreparesTheSameCommandAnew(t *testing.T) {
	b := newBook(t)
	none := func() map[cluster.NodeID]placement.Hint { return nil }
	c := NewChooser(1, b.View, none, nil)
	op := &cluster.CreateInstances{Project: "p1", Spec: cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "all", VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100}},
		Items: []cluster.NewInstance{{ID: "22222222-2222-4222-8222-222222222222", Name: "web"}}}
	for i := range 3 {
		release := c.Prepare(op)
		if op.Items[0].Node != soleNode {
			t.Fatalf("attempt %d found no node: %+v", i, op.Items[0].Explanation)
		}
		other := *op
		other.Items = append([]cluster.NewInstance(nil), op.Items...)
		undo := c.Prepare(&other)
		if got := other.Items[0]; got.Node != "" || got.Explanation == nil || !strings.Contains(strings.Join(got.Explanation.Reasons, " "), "short") {
			t.Errorf("room that is spoken for was given away: %+v", got)
		}
		undo()
		release()
	}
}

// An administrator wants an instance on a node that takes none. It ends in error with the reason, instead of waiting for the node for ever.
func TestLead_ForcedOntoANodeThatTakesNoneEndsInError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		b.apply(&cluster.SetNodeService{ID: soleNode, Service: cluster.ServiceState{Disabled: true}})
		const id cluster.InstanceID = "11111111-1111-4111-8111-111111111111"
		res := b.apply(&cluster.CreateInstances{
			Request: "req-1", Project: "p1", User: "u1",
			Spec: cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "tiny", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1},
				Scheduling: cluster.Scheduling{Host: "n1", Forced: true}},
			Items: []cluster.NewInstance{{ID: id, Name: "web", Hostname: "web"}},
		})
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		b.lead(time.Minute, nil)
		in, _ := b.View().Instance(id)
		if in.Status.VM != cluster.VMError || in.Status.Fault == nil || !strings.Contains(in.Status.Fault.Message, "takes no new instances") {
			t.Errorf("it is %+v", in.Status)
		}
	})
}
