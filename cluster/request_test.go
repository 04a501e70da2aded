package cluster

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// A client asks, the answer is lost, and it asks again under the same key, at another node, later. One instance is made
// and the answer is the first one.
func TestApply_SameRequestTwiceIsTheSameAsOnce(t *testing.T) {
	w := newTown(t)
	c := Command{ID: "key", Digest: Hash{1}, Op: create("a", first)}
	one := w.apply(c)
	again := c
	again.Op = create("b", first) // what the retry would make, had it a chance
	if two := w.apply(again); !reflect.DeepEqual(one, two) {
		t.Fatalf("first %+v, then %+v", one, two)
	}
	if n := w.s.View().Usage(home).Instances; n != 1 {
		t.Fatalf("%d instances were made", n)
	}
}

func TestApply_KeyReusedForAnotherRequestIsRefused(t *testing.T) {
	w := newTown(t)
	w.apply(Command{ID: "key", Digest: Hash{1}, Op: create("a", first)})
	r := w.apply(Command{ID: "key", Digest: Hash{2}, Op: create("b", first)})
	if r.Err == nil || r.Err.Code != Conflict {
		t.Fatalf("got %+v", r)
	}
	if r := w.apply(Command{ID: "key", Op: create("b", first)}); r.Err != nil || r.IDs[0] != "a" {
		t.Fatalf("without a digest: %+v", r)
	}
	for _, id := range []RequestID{"\x00", RequestID(make([]byte, 300))} {
		if r := w.apply(Command{ID: id, Op: create("b", first)}); r.Err == nil || r.Err.Code != Invalid {
			t.Fatalf("key %.10q: %+v", id, r)
		}
	}
}

// A refusal is an answer and is remembered. Stale is a question to the proposer, who reads again and repeats the request.
func TestApply_RefusalIsRememberedUnlessStale(t *testing.T) {
	w := newTown(t)
	del := Command{ID: "k1", Op: &DeletePort{ID: "p"}}
	if r := w.apply(del); r.Err == nil || r.Err.Code != NotFound {
		t.Fatalf("got %+v", r)
	}
	w.do(&PutPort{Port: *somePort("p", "p")})
	if r := w.apply(del); r.Err == nil || r.Err.Code != NotFound {
		t.Fatalf("the refusal was forgotten: %+v", r)
	}
	f := someFlavor()
	f.Revision = 99
	if r := w.apply(Command{ID: "k2", Op: &PutFlavor{Flavor: f}}); r.Err == nil || r.Err.Code != Stale {
		t.Fatalf("got %+v", r)
	}
	old, _ := w.s.View().Flavor("1")
	f.Revision = old.Revision
	if r := w.apply(Command{ID: "k2", Op: &PutFlavor{Flavor: f}}); r.Err != nil {
		t.Fatalf("the repeated request is refused: %+v", r.Err)
	}
}

// What is remembered is bounded in time and in number, and goes oldest first.
func TestApply_ForgetsOldRequests(t *testing.T) {
	w := newTown(t)
	w.apply(Command{ID: "old", Op: &DeletePort{ID: "p"}})
	w.now = w.now.Add(RequestMemory - time.Minute)
	w.apply(Command{ID: "young", Op: &DeletePort{ID: "p"}})
	w.now = w.now.Add(time.Minute)
	w.do(&PutPort{Port: *somePort("q", "q")})
	if _, ok := w.s.t.requests.Get("old"); ok {
		t.Error("a request is remembered for too long")
	}
	if _, ok := w.s.t.requests.Get("young"); !ok {
		t.Error("a request was forgotten too soon")
	}
	commands := make([]Command, 1000)
	for i := 0; i < MaxRequests+2000; i += len(commands) {
		for j := range commands {
			commands[j] = Command{ID: RequestID(fmt.Sprint("n", i+j)), Time: w.now + Time(i+j), Op: &DeletePort{ID: "p"}}
		}
		w.index++
		if _, err := w.s.Apply(w.index, commands); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.s.t.requests.Len(); n != MaxRequests || w.s.t.requestByTime.Len() != n {
		t.Errorf("%d requests are remembered", n)
	}
	if _, ok := w.s.t.requests.Get("n0"); ok {
		t.Error("the oldest is still there")
	}
}

// A proposer whose clock is behind, and one whose clock is before the epoch, do not turn time back.
func TestApply_TimeNeverRunsBackwards(t *testing.T) {
	w := newTown(t)
	now := w.s.View().Time()
	for _, at := range []Time{now - 1, -5} {
		w.apply(Command{Time: at, Op: &PutPort{Port: *somePort("p", "p")}})
		if got := w.s.View().Time(); got != now {
			t.Fatalf("time went from %d to %d", now, got)
		}
	}
}

// The index goes on although everything is refused, and an entry is not applied twice.
func TestApply_IndexAdvancesOnRefusalAndNeverRepeats(t *testing.T) {
	s := NewState()
	if _, err := s.Apply(5, []Command{{Op: &DeletePort{ID: "p"}}}); err != nil || s.View().Index() != 5 {
		t.Fatalf("index is %d, %v", s.View().Index(), err)
	}
	for _, i := range []uint64{5, 4, 0} {
		if _, err := s.Apply(i, nil); err == nil {
			t.Fatalf("entry %d is applied after 5", i)
		}
	}
}

// Records of instances that are gone are kept for listings, thirty days and 5,000 at most, and their actions with them.
func TestApply_ForgetsInstancesThatAreLongGone(t *testing.T) {
	w := newTown(t)
	w.do(create("a", ""))
	w.do(&DeleteInstance{ID: "a"})
	w.now = w.now.Add(DeletedMemory + time.Hour)
	w.do(&PutPort{Port: *somePort("p", "p")})
	if _, ok := w.s.View().DeletedInstance("a"); ok || w.actions("a") != "" {
		t.Fatal("it is still remembered")
	}
	for i := range MaxDeleted + 10 {
		w.index += 2
		id := fmt.Sprint("i", i)
		in := create(id, "")
		in.Items[0].Ports = nil
		if _, err := w.s.Apply(w.index-1, []Command{{Time: w.now + Time(i), Op: in}}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.s.Apply(w.index, []Command{{Time: w.now + Time(i), Op: &DeleteInstance{ID: InstanceID(id)}}}); err != nil {
			t.Fatal(err)
		}
	}
	w.do(&DeletePort{ID: "p"})
	v := w.s.View()
	if n := v.t.deleted.Len(); n != MaxDeleted {
		t.Fatalf("%d are remembered", n)
	}
	if n := v.t.actions.Len(); n != 2*MaxDeleted {
		t.Fatalf("%d actions are kept of %d instances", n, MaxDeleted)
	}
}
