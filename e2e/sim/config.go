package sim

import (
	"fmt"
	"io"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// settleTime is how long after the last fault everything may take to come to rest.
const settleTime = 60 * time.Second

// Config says which run to make. The zero values are drawn from the seed.
type Config struct {
	Seed     uint64
	Nodes    int           // 0: 3 to 7
	Clients  int           // 0: 3 to 6
	Rounds   int           // 0: 2
	Faults   time.Duration // of virtual time that the faults of a round last; 0: 40 s to 90 s
	Bug      Bug           // planted, to see that it is found
	NoLeases bool          // nodes do without, as those of large clusters do
	Trace    io.Writer     // gets a line for each thing that happens; nil: nobody asks
}

func (c *Config) fill(d dice) {
	if c.Nodes == 0 {
		c.Nodes = 3 + d.below(5, "nodes")
	}
	if c.Clients == 0 {
		c.Clients = 3 + d.below(4, "clients")
	}
	if c.Rounds == 0 {
		c.Rounds = 2
	}
	if c.Faults == 0 {
		c.Faults = d.between(40*time.Second, 90*time.Second, "faults")
	}
}

// Report is what a run was and found.
type Report struct {
	Seed         uint64
	Nodes        int
	Rounds       int           // ended at rest
	Virtual      time.Duration // simulated
	Entries      uint64        // of the log
	Acknowledged int           // requests of clients
	Starts       int           // of domains
	Faults       int           // begun
	Hash         cluster.Hash  // of the last state
	Broken       *Violation    // nil: every check held
}

// Check names something that the cluster promises.
type Check string

// The checks, and when they are asked.
const (
	CheckState    Check = "state agrees with itself"                                 // View.Verify, at every index
	CheckReplicas Check = "the same index is the same state everywhere"              // at every index of every replica
	CheckOne      Check = "one running domain per instance"                          // at every start
	CheckStart    Check = "a domain starts only where it is committed"               // at every start
	CheckCreates  Check = "an acknowledged create is there once until it is deleted" // at every index, acknowledgement and rest
	CheckDeletes  Check = "an acknowledged delete never comes back"                  // at every index and acknowledgement
	CheckRoom     Check = "no node is promised more than it has"                     // at every index
	CheckDisks    Check = "a disk goes only with a tombstone"                        // at every removal
	CheckContent  Check = "a disk holds what was written to it"                      // at every start, four times a second, at rest
	CheckMemory   Check = "a guest's memory goes on, once, until it may go"          // at every start and stop, four times a second
	CheckLease    Check = "no node is taken for dead that may hold a lease"          // whenever one is
	CheckRestart  Check = "what a lost node guarded runs elsewhere in time"          // when one is lost at rest
	CheckSettled  Check = "everything comes to rest when faults end"                 // settleTime after the last fault
)

// Violation is a promise that was broken.
type Violation struct {
	Check Check
	What  string
	After time.Duration // of virtual time
	Index uint64        // of the log
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s: %s (after %v, at index %d)", v.Check, v.What, v.After, v.Index)
}

// Bug is a mistake that can be planted.
type Bug string

// The bugs, each a way in which such a system has been wrong before.
const (
	BugNone             Bug = ""
	BugSkipConfirm      Bug = "a node starts what its own old picture says, without asking the cluster"
	BugApplyOrder       Bug = "a replica applies the commands of an entry in an order of its own"
	BugDeleteOnAbsence  Bug = "a node removes what its picture does not name"
	BugAckFirst         Bug = "the leader acknowledges before it has committed"
	BugAckDeleteFirst   Bug = "the leader acknowledges deletes before it has committed"
	BugRetryAnew        Bug = "a retry is a new request"
	BugHastyEvacuation  Bug = "an instance is started elsewhere because gossip says that its node is silent"
	BugInflatedCapacity Bug = "the state promises more of a node than it has"
	BugLostGone         Bug = "the news that an instance is gone gets lost"
	BugDeafLeader       Bug = "an evacuation does not wait for a node that lives"
	BugLostTail         Bug = "a new leader has not got the last entries of the log"
	BugWriteToView      Bug = "a reader changes what it reads"
	BugHastyLanding     Bug = "the destination of a live migration starts the guest before it has come"
	BugEmptyCopy        Bug = "a disk that was copied is empty"
	BugForgetMemory     Bug = "a suspended guest is booted"
	BugLostStep         Bug = "the news that a step is done gets lost"
	BugNoWatchdog       Bug = "nobody ends the guests of a dead daemon"
	BugYoungLeader      Bug = "a new leader does not wait for leases that an earlier one granted"
	BugIdleLeader       Bug = "a leader takes nobody for dead"
	BugNoLease          Bug = "a node starts guests without a lease"
	BugLeakedDisks      Bug = "a node says that the disks are gone before it has removed them"
)
