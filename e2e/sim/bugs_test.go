package sim

import "testing"

// A check that cannot fail says nothing. Each of these mistakes is planted, and the check that is there for it has to find
// it within a few seeds.
func TestBugs_EachIsFoundByItsCheck(t *testing.T) {
	for _, c := range []struct {
		bug   Bug
		check Check
		seeds uint64
	}{
		{BugWriteToView, CheckState, 3},
		{BugApplyOrder, CheckReplicas, 10},
		{BugLostTail, CheckReplicas, 10},
		{BugHastyEvacuation, CheckOne, 10},
		{BugDeafLeader, CheckOne, 20},
		{BugSkipConfirm, CheckStart, 30},
		{BugAckFirst, CheckCreates, 10},
		{BugRetryAnew, CheckCreates, 40},
		{BugAckDeleteFirst, CheckDeletes, 10},
		{BugInflatedCapacity, CheckRoom, 10},
		{BugDeleteOnAbsence, CheckDisks, 10},
		{BugNoWatchdog, CheckOne, 10},
		{BugYoungLeader, CheckLease, 10},
		{BugIdleLeader, CheckRestart, 5},
		{BugNoLease, CheckStart, 30},
		{BugLostGone, CheckSettled, 3},
		{BugLeakedDisks, CheckSettled, 3},
		{BugLostStep, CheckSettled, 3},
		{BugHastyLanding, CheckOne, 5},
		{BugEmptyCopy, CheckContent, 5},
		{BugForgetMemory, CheckMemory, 5},
	} {
		t.Run(string(c.bug), func(t *testing.T) {
			for seed := uint64(1); seed <= c.seeds; seed++ {
				r := simulate(t, Config{Seed: seed, Rounds: 1, Bug: c.bug, NoLeases: c.bug == BugSkipConfirm}) // without its lease such a node would start nothing, either
				if r.Broken != nil && r.Broken.Check == c.check {
					t.Logf("seed %d: %v", seed, r.Broken)
					return
				}
				t.Logf("seed %d: not found by its check: %v", seed, r.Broken)
			}
			t.Errorf("%d seeds did not show it to the check %q", c.seeds, c.check)
		})
	}
}
