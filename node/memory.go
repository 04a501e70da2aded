package node

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimEvery is how often a node looks at its memory.
	trimEvery = 10 * time.Second

	// spareGarbage is how much garbage may always gather before it is collected. By Go's own rule, as much may gather as lives, and a
	// small heap under load is collected all the time.
	spareGarbage = 48 << 20

	// smallestHeap is what Go's rule never falls below: it multiplies that by the percentage, too.
	smallestHeap = 4 << 20

	// replayPercent is how much garbage may gather while the log is replayed, of what lives.
	replayPercent = 300

	// Memory goes back to the system when at least that much would, and a quarter of what lives, since it costs a collection; and only
	// when less than quietBytes was asked for since the last look, since a busy node would need it again at once.
	worthTrimming = 12 << 20
	quietBytes    = 4 << 20
)

// heap is what the runtime says of its memory, in bytes.
type heap struct {
	live      uint64 // after the last collection
	held      uint64 // from the system, for objects living, dead and to come
	allocated uint64 // in all since the start
}

// heapPlan is what to do about it.
type heapPlan struct {
	percent int  // for debug.SetGCPercent
	trim    bool // collect, and give back what is free
}

// planHeap decides. before is the heap at the last look.
func planHeap(before, now heap) heapPlan {
	p := heapPlan{percent: 100}
	if now.live < spareGarbage {
		p.percent = int(100 * spareGarbage / max(now.live, smallestHeap))
	}
	quiet := now.allocated-before.allocated < quietBytes
	p.trim = quiet && now.held > now.live && now.held-now.live >= max(worthTrimming, now.live/4)
	return p
}

// collectLess is for the time while the log is replayed: it makes much garbage, and the heap is small at first.
func collectLess() {
	if operatorDecides() {
		return
	}
	debug.SetGCPercent(replayPercent)
}

// operatorDecides tells whether the collector was configured by the environment (see package runtime).
func operatorDecides() bool { return os.Getenv("GOGC") != "" }

// tendMemory keeps the collector from running all the time under load, and gives memory back afterwards: hashing one password takes
// 19 MiB, which Go would keep for minutes. It returns when ctx ends.
func (n *node) tendMemory(ctx context.Context) {
	percent := 0
	for before := readHeap(); ; {
		now := readHeap()
		plan := planHeap(before, now)
		if plan.percent != percent && !operatorDecides() {
			percent = plan.percent
			debug.SetGCPercent(percent)
		}
		if plan.trim {
			debug.FreeOSMemory()
		}
		if before = now; !pause(ctx, trimEvery) {
			return
		}
	}
}

// readHeap does not stop the program, as runtime.ReadMemStats would.
func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that no longer has it
		}
		return samples[i].Value.Uint64()
	}
	return heap{live: value(0), held: value(1) + value(2) + value(3), allocated: value(4)}
}
