package lead

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kilonova/kilonova/cluster"
)

// reserving is a crowd whose nodes share a directory, and keep room for the loss of some of them.
func reserving(t testing.TB, n, reserve int) (*cluster.State, *Chooser) {
	s, c := crowd(t, n)
	for node := range s.View().Nodes() {
		shares := node.Clone()
		shares.Host.Traits = append(shares.Host.Traits, cluster.TraitSharedVolumes)
		write(t, s, &cluster.UpdateNode{Node: *shares})
	}
	write(t, s, &cluster.PutQuota{Quota: cluster.Quota{Project: "p", Limits: map[cluster.QuotaName]int64{
		cluster.QuotaInstances: cluster.Unlimited, cluster.QuotaCores: cluster.Unlimited, cluster.QuotaRAM: cluster.Unlimited,
		cluster.QuotaVolumes: cluster.Unlimited, cluster.QuotaGigabytes: cluster.Unlimited,
	}}})
	keepRoom(t, s, reserve)
	return s, c
}

func keepRoom(t testing.TB, s *cluster.State, nodes int) {
	t.Helper()
	next := s.View().Settings()
	next.ReserveNodes = nodes
	write(t, s, &cluster.PutSettings{Settings: next})
}

// boots creates an instance through the chooser as the leader does, and gives where it went and what was said.
func boots(t testing.TB, s *cluster.State, c *Chooser, id string, vcpus int64, ha bool) (cluster.NodeID, string) {
	t.Helper()
	boot := cluster.Volume{ID: cluster.VolumeID("v-" + id), Project: "p", User: "u", Name: "boot", SizeGiB: 1, Type: "shared"}
	op := &cluster.CreateInstances{Request: "r", Project: "p", User: "u",
		Spec: cluster.Spec{Flavor: cluster.Flavor{ID: "1", Name: "f", VCPUs: vcpus, MemoryMiB: 64}, Boot: cluster.BootSource{Volume: true}},
		Items: []cluster.NewInstance{{ID: cluster.InstanceID(id), Name: "x", Hostname: "x",
			Volumes: []cluster.NewVolume{{New: &boot, Attachment: cluster.Attachment{ID: cluster.AttachmentID("a-" + id), Boot: true}}}}}}
	if ha {
		op.Spec.Metadata = map[string]string{cluster.KeyHA: "true"}
	}
	release := c.Prepare(op)
	write(t, s, op)
	release()
	e := op.Items[0].Explanation
	return op.Items[0].Node, strings.Join(e.Reasons, "; ")
}

// Three nodes of eight vCPU keep room for the loss of one. Guests that ask for high availability fill two thirds of them; then there is room, and
// none that may be used, and the reason says so. Without the reserve it is used.
func TestReserve_KeepsTheRoomOfALostNode(t *testing.T) {
	s, c := reserving(t, 3, 1)
	placed := 0
	for i := range 24 {
		node, why := boots(t, s, c, fmt.Sprint("ha", i), 1, true)
		if node == "" {
			if !strings.Contains(why, "is kept for") || !strings.Contains(why, "loss of a node") {
				t.Fatalf("the reason: %s", why)
			}
			break
		}
		placed++
	}
	if placed != 16 {
		t.Errorf("placed %d of 24, and 16 have room after the loss of any node", placed)
	}
	if node, _ := boots(t, s, c, "other", 1, false); node != "" {
		t.Error("one that does not ask for it uses the reserve")
	}
	if n, kept := c.Reserve(); n != 1 || !kept {
		t.Errorf("reserve for %d nodes, kept %v", n, kept)
	}
	keepRoom(t, s, 2)
	if _, kept := c.Reserve(); kept {
		t.Error("the same room is enough for the loss of two")
	}
	keepRoom(t, s, 0)
	if node, why := boots(t, s, c, "more", 1, false); node == "" {
		t.Errorf("without a reserve: %s", why)
	}
}

// A node is lost. What was guarded there is started elsewhere, in the room that was kept for it, and nothing new is placed until there is such
// room again.
func TestReserve_IsThereForRestarts(t *testing.T) {
	s, c := reserving(t, 3, 1)
	for i := range 16 {
		node, _ := boots(t, s, c, fmt.Sprint("ha", i), 1, true)
		in, _ := s.View().Instance(cluster.InstanceID(fmt.Sprint("ha", i)))
		write(t, s, &cluster.GuardInstances{Node: node, Guards: []cluster.Guard{{ID: in.ID, Epoch: in.Epoch}}})
	}
	write(t, s, &cluster.LoseNode{Node: member(1).ID})
	if node, _ := boots(t, s, c, "new", 1, false); node != "" {
		t.Error("a new one takes the place of a guest that waits")
	}
	restarted := 0
	for in := range s.View().UnderWay() {
		op, release := c.placeMove(in)
		if op.Node == "" {
			t.Fatalf("no room for %s: %v", in.ID, op.Explanation.Reasons)
		}
		write(t, s, op)
		release()
		restarted++
	}
	if restarted < 4 {
		t.Errorf("only %d were restarted", restarted)
	}
}

// A guest grows only as far as the reserve stays.
func TestReserve_IsNotForLargerGuests(t *testing.T) {
	s, c := reserving(t, 2, 1)
	boots(t, s, c, "ha", 4, true)
	boots(t, s, c, "other", 1, false)
	made, _ := s.View().Instance("other")
	volume, _ := s.View().Volume("v-other")
	write(t, s, &cluster.ReportVolumes{Node: volume.File.Node, Volumes: []cluster.VolumeReport{{ID: volume.ID, Generation: volume.Generation, SizeGiB: 1}}})
	write(t, s, &cluster.ReportInstances{Node: made.Node, Reports: []cluster.InstanceReport{
		{ID: made.ID, Generation: made.Generation, Epoch: made.Epoch, Boot: made.Boot, Power: cluster.PowerRunning}}})
	for _, vcpus := range []int64{5, 3} {
		write(t, s, &cluster.BeginMove{ID: "other", Operation: "o", What: cluster.OpResize, Flavor: &cluster.Flavor{ID: "2", Name: "g", VCPUs: vcpus, MemoryMiB: 64, DiskGiB: 0}})
		in, _ := s.View().Instance("other")
		op, release := c.placeMove(in)
		release()
		if refused := op.Node == "" && strings.Contains(strings.Join(op.Explanation.Reasons, ";"), "is kept for"); refused != (vcpus == 5) {
			t.Errorf("resize to %d: %q, %v", vcpus, op.Node, op.Explanation.Reasons)
		}
		write(t, s, &cluster.PlaceMove{ID: "other", Operation: "o", Explanation: op.Explanation})
	}
}

// Whatever comes and goes, as long as the reserve says that it is kept, a trial of the loss of each node finds a place for everything that asks for
// one; and what is counted step by step is what a new count gives.
func TestReserve_AgreesWithTheTrialOfEachLoss(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, c := reserving(t, rapid.IntRange(2, 5).Draw(rt, "nodes"), 1)
		var alive []string
		for i := range rapid.IntRange(1, 30).Draw(rt, "steps") {
			if len(alive) > 0 && rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
				at := rapid.IntRange(0, len(alive)-1).Draw(rt, "which")
				write(t, s, &cluster.DeleteInstance{ID: cluster.InstanceID(alive[at])})
				alive = append(alive[:at], alive[at+1:]...)
			} else {
				id := fmt.Sprint("i", i)
				if node, _ := boots(t, s, c, id, int64(rapid.IntRange(1, 5).Draw(rt, "vcpus")), rapid.Bool().Draw(rt, "ha")); node != "" {
					alive = append(alive, id)
				}
			}
			_, kept := c.Reserve()
			if !kept {
				rt.Fatalf("step %d: the reserve was used", i)
			}
			for n := range s.View().Nodes() {
				for id, fate := range c.WithoutNode(n.ID) {
					if fate == "" {
						rt.Fatalf("step %d: kept, and without %s there is no room for %s", i, n.Name, id)
					}
				}
			}
			afresh := newReserve(c.index)
			afresh.follow(s.View())
			if afresh.spare != c.reserve.spare || afresh.slot != c.reserve.slot || len(afresh.held) != len(c.reserve.held) || fmt.Sprint(trimmed(afresh.sums)) != fmt.Sprint(trimmed(c.reserve.sums)) {
				rt.Fatalf("step %d: counted %+v, afresh %+v", i, c.reserve, afresh)
			}
		}
	})
}

func trimmed(sums []int) []int {
	for len(sums) > 0 && sums[len(sums)-1] == 0 {
		sums = sums[:len(sums)-1]
	}
	return sums
}

// The cost of a decision does not grow with the nodes, also while room is kept.
func BenchmarkReserve(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, c := reserving(b, n, 2)
			for i := range n {
				boots(b, s, c, fmt.Sprint("ha", i), 1, true)
			}
			for b.Loop() {
				r := c.reserve
				r.touch(member(n / 2).ID)
				if !r.kept() {
					b.Fatal("the reserve was used")
				}
			}
		})
	}
}
