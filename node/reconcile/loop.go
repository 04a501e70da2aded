package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// How often and how much.
const (
	takenAtOnce   = 256                    // events and results between two passes
	callTimeout   = 30 * time.Second       // one call of the driver
	startTimeout  = 60 * time.Second       // building or starting
	saveTimeout   = 10 * time.Minute       // writing a guest's memory to disk
	shutdownGrace = 60 * time.Second       // Nova's shutdown_timeout: then the power is cut
	busyPause     = 200 * time.Millisecond // until it is looked again whether an instance is busy
	maxAttempts   = 3                      // then the instance goes to error
	retryAfter    = time.Second            // doubled with each attempt, up to retryAtMost
	retryAtMost   = 30 * time.Second
	unsureAtMost  = 5 * time.Second // when nobody answered: as soon as somebody does, it should go on
	maxDetail     = 4096            // bytes of an error that the state keeps
)

// Cluster is the replicated state as the loop uses it.
type Cluster interface {
	// Latest returns the newest view and a channel that is closed when there is a newer one.
	Latest() (*cluster.View, <-chan struct{})

	// Read returns a view that holds everything acknowledged before the call.
	Read(ctx context.Context) (*cluster.View, error)

	// Propose commits a command.
	Propose(ctx context.Context, c cluster.Command) (cluster.Result, error)
}

// Images puts base images on this node.
type Images interface {
	// Base returns where an image stands on this node's disk, and in what format; ok is false when it does not.
	Base(img cluster.BootImage) (path, format string, ok bool)

	// Prepare fetches an image until Base has it. It tells its progress in words.
	Prepare(ctx context.Context, img cluster.BootImage, progress func(note string)) error
}

// Volumes knows the volumes that are attached to an instance.
type Volumes interface {
	// Disks describes the volumes that an instance has, or is to have, on a node. A volume that is not ready there is
	// an error with code Unavailable.
	Disks(v *cluster.View, in *cluster.Instance, node cluster.NodeID) ([]virt.Disk, error)
}

// Lease is this node's right to run guests.
type Lease interface {
	// MayStart says why no guest may be started now; nil: it may.
	MayStart() error

	// Ordering is called before the hypervisor is told to start an instance, and says why it must not be told. Its answer is given to answered.
	Ordering(id cluster.InstanceID) (answered func(error), err error)

	// Fenced tells whether an instance that does not run was ended for want of a lease, or may have been, rather than by its guest.
	Fenced(in *cluster.Instance) bool

	// Started says that an instance runs again.
	Started(id cluster.InstanceID)
}

// Replicas knows the copies of this node's disks that other nodes keep.
type Replicas interface {
	// BeforeStart sees to it that a copy does not count any more which a guest that is started now would go on without.
	BeforeStart(ctx context.Context, in *cluster.Instance) error
}

// Config is what a Loop is made of.
type Config struct {
	Replicas    Replicas // nil: there are none
	Lease       Lease    // nil: nothing needs one
	Node        cluster.NodeID
	Cluster     Cluster
	Driver      virt.Driver
	Images      Images
	Busy        func(cluster.InstanceID) bool // disks of the instance are being made here: nothing of it is removed; nil: never
	Volumes     Volumes                       // nil: there are none
	Log         *slog.Logger
	Starts      int    // guests that are built or started at the same time
	Incarnation string // names this boot of the host; see Resume
	LastKnown   string // the incarnation that Settled was told last
	Settled     func() // called when all that ran before a reboot of the host runs again
}

// Loop reconciles one node. Make it with New, then call Run.
type Loop struct {
	Config
	outbox *outbox
	slots  chan struct{}

	// Owned by Run.
	due
	known    map[cluster.InstanceID]*cluster.Instance // as the last pass saw them
	observed map[cluster.InstanceID]virt.Domain       // as last listed, and changed by what was done since
	memory   map[cluster.InstanceID]*memory
	dirty    map[cluster.InstanceID]struct{}
	resume   map[cluster.InstanceID]struct{} // ran when the host went down, and do not run yet
	buried   map[cluster.InstanceID]uint64   // epochs whose removal was reported, until the state has taken it in
	seen     *cluster.View                   // what known is from
	answered bool                            // the hypervisor was listed once
	underway *listing                        // nil: the hypervisor is not being listed
	alarms   map[cluster.InstanceID]time.Time
	rebooted bool // the host was booted since LastKnown, and resume is not filled yet
	done     chan outcome
	listed   chan *listing
	workers  sync.WaitGroup

	mu          sync.Mutex
	quarantined map[cluster.InstanceID]string // why each is left alone
}

// memory is what the loop remembers of an instance between passes.
type memory struct {
	busy     bool
	fetching func() // stops a worker that only fetches images; nil: there is none
	missing  bool   // this pass decided without its images; they may have come since, for another instance's sake
	epoch    uint64 // of the instance that is worked on
	attempts int    // since something went well
	refusals int    // those of them that say something about the instance
	retryAt  time.Time
	boot     uint64    // the Boot of the domain that runs; 0: as the state says
	asked    time.Time // when the guest was asked to shut down
	reported reported
	since    int // the first listing that says something about it: see handed
}

// New makes a loop.
func New(c Config) *Loop {
	return &Loop{
		Config:   c,
		outbox:   newOutbox(c.Node, c.Cluster, c.Log),
		slots:    make(chan struct{}, max(1, c.Starts)),
		known:    map[cluster.InstanceID]*cluster.Instance{},
		observed: map[cluster.InstanceID]virt.Domain{},
		memory:   map[cluster.InstanceID]*memory{},
		dirty:    map[cluster.InstanceID]struct{}{},
		resume:   map[cluster.InstanceID]struct{}{},
		alarms:   map[cluster.InstanceID]time.Time{},
		buried:   map[cluster.InstanceID]uint64{},
		rebooted: c.Incarnation != c.LastKnown,
		done:     make(chan outcome),
		listed:   make(chan *listing),

		quarantined: map[cluster.InstanceID]string{},
	}
}

// Quarantined names the domains that were found and left alone. It is safe for concurrent use.
func (l *Loop) Quarantined() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, 0, len(l.quarantined))
	for id, why := range l.quarantined {
		out = append(out, string(id)+": "+why)
	}
	slices.Sort(out)
	return out
}

// Run reconciles until ctx ends, and returns when every worker is done. Domains go on running.
func (l *Loop) Run(ctx context.Context) {
	defer l.drain()
	l.workers.Add(1)
	go func() { defer l.workers.Done(); l.outbox.run(ctx) }()
	if !l.catchUp(ctx) {
		return
	}
	for {
		view, changed := l.Cluster.Latest()
		l.list(ctx)
		wake := l.pass(ctx, view)
		if !l.wait(ctx, changed, wake) {
			return
		}
	}
}

// wait returns when another pass is due, with everything that came until then taken in, or false when ctx has ended.
func (l *Loop) wait(ctx context.Context, changed <-chan struct{}, wake time.Duration) bool {
	timer := time.NewTimer(wake)
	defer timer.Stop()
	select {
	case <-changed:
	case e := <-l.Driver.Events():
		l.hint(e)
	case o := <-l.done:
		l.finish(o)
	case f := <-l.listed:
		l.take(f)
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	for range takenAtOnce {
		select {
		case e := <-l.Driver.Events():
			l.hint(e)
		case o := <-l.done:
			l.finish(o)
		case f := <-l.listed:
			l.take(f)
		default:
			return true
		}
	}
	return true
}

// catchUp waits until this node has seen everything that was acknowledged: what an old log says may have been moved
// or deleted long ago.
func (l *Loop) catchUp(ctx context.Context) bool {
	for {
		_, err := l.Cluster.Read(ctx)
		if err == nil {
			return true
		}
		l.Log.Info("wait for the cluster before touching any instance", "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return false
		}
	}
}

// drain waits for the workers, whose context has ended.
func (l *Loop) drain() {
	idle := make(chan struct{})
	go func() { l.workers.Wait(); close(idle) }()
	for {
		select {
		case <-l.done:
		case <-l.listed:
		case <-idle:
			return
		}
	}
}
