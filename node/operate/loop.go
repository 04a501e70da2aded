package operate

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/reconcile"
	"github.com/kilonova/kilonova/virt"
)

// How often the loop looks when nothing changes, and how much of each kind a node does at the same time.
const (
	lookEvery = 5 * time.Second

	copiesAtOnce     = 4
	migrationsAtOnce = 2
	capturesAtOnce   = 2
	questionsAtOnce  = 8
)

// atOnce bounds the workers of each step that this package carries out.
var atOnce = map[cluster.OperationStep]int{
	cluster.StepCopying:   copiesAtOnce,
	cluster.StepMigrating: migrationsAtOnce,
	cluster.StepCapturing: capturesAtOnce,
	cluster.StepAsking:    questionsAtOnce,
}

// Cluster is the replicated state as the loop uses it.
type Cluster = reconcile.Cluster

// Images puts base images on this node.
type Images = reconcile.Images

// DiskSources reach the nodes that instances move away from.
type DiskSources interface {
	Disks(ctx context.Context, source cluster.NodeID, m peer.Move) ([]peer.Disk, error)
	Block(ctx context.Context, source cluster.NodeID, m peer.Move, disk string, parts []peer.Extent, into []byte) error
}

// ImageStore keeps images.
type ImageStore interface {
	// Import stores the qcow2 file at path as an image's bytes on this node. Nodes is left open.
	Import(ctx context.Context, path string) (*cluster.ImageData, error)

	// Replicate copies an image that is on this node to as many others as images are kept on, and gives all that have it.
	Replicate(ctx context.Context, root cluster.Hash) ([]cluster.NodeID, error)
}

// Config is what a Loop is made of.
type Config struct {
	Node    cluster.NodeID
	Cluster Cluster
	Driver  virt.Driver
	Images  Images
	Sources DiskSources
	Store   ImageStore
	Scratch string // directory of this loop's own, for files that a crash may leave behind
	Log     *slog.Logger

	Landings Landings
	Arrivals Arrivals
	Sockets  Sockets
	Options  virt.MigrateOptions // of all live migrations; which disks are copied is found out
}

// Loop carries out this node's steps. Make it with New, then call Run.
type Loop struct {
	Config
	busy

	// Owned by Run.
	arrivals arrivals
	works    map[workKey]*work
	running  map[cluster.OperationStep]int
	done     chan workKey
	workers  sync.WaitGroup
}

// workKey names what one worker does.
type workKey struct {
	instance  cluster.InstanceID
	operation cluster.OperationID
	step      cluster.OperationStep
}

// New makes a loop.
func New(c Config) *Loop {
	return &Loop{Config: c, works: map[workKey]*work{}, running: map[cluster.OperationStep]int{}, done: make(chan workKey)}
}

// Run works until ctx ends, and returns when every worker is done.
func (l *Loop) Run(ctx context.Context) {
	defer l.drain()
	l.tidyScratch()
	for {
		view, changed := l.Cluster.Latest()
		l.pass(ctx, view)
		l.greet(ctx, view)
		timer := time.NewTimer(lookEvery)
		select {
		case <-changed:
		case key := <-l.done:
			l.forget(key)
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// tidyScratch removes what captures left that a crash ended: each begins anew.
func (l *Loop) tidyScratch() {
	entries, err := os.ReadDir(l.Scratch)
	if err != nil {
		return // most likely there never was a capture
	}
	for _, e := range entries {
		path := filepath.Join(l.Scratch, e.Name())
		if err := os.RemoveAll(path); err != nil {
			l.Log.Warn("remove what a capture left behind", "file", path, "err", err)
		}
	}
}

// pass starts what is this node's to do now, and calls back what is not any more.
func (l *Loop) pass(ctx context.Context, view *cluster.View) {
	due := map[workKey]*cluster.Instance{}
	for in := range view.UnderWay() {
		if atOnce[in.Op.Step] == 0 || in.Executor() != l.Node || in.Wanted == cluster.WantDeleted {
			continue
		}
		due[workKey{in.ID, in.Op.ID, in.Op.Step}] = in
	}
	for key, w := range l.works {
		if in, ok := due[key]; ok {
			w.tell(in)
		} else {
			w.cancel()
		}
	}
	for key, in := range due {
		_, pending := view.Tombstone(l.Node, in.ID)
		if l.works[key] == nil && !pending && l.running[key.step] < atOnce[key.step] {
			l.start(ctx, key, in)
		}
	}
}

func (l *Loop) start(ctx context.Context, key workKey, in *cluster.Instance) {
	w := newWork(l, key, in)
	ctx, w.cancel = context.WithCancel(within(ctx, in.ID))
	l.works[key] = w
	l.running[key.step]++
	idle := l.begin(key.instance)
	l.workers.Go(func() {
		defer idle()
		w.run(ctx)
		l.done <- key // Run or drain takes it
	})
}

func (l *Loop) forget(key workKey) {
	l.works[key].cancel()
	delete(l.works, key)
	l.running[key.step]--
}

// drain waits for the workers, whose context has ended.
func (l *Loop) drain() {
	idle := make(chan struct{})
	go func() { l.workers.Wait(); close(idle) }()
	for {
		select {
		case <-l.done:
		case <-idle:
			return
		}
	}
}
