package placement

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// BenchmarkDecide measures single decisions, each chosen and claimed, over random requests on nodes that are full to any
// degree. Every claim is released after some thousand further ones, at random, so the cluster stays as full as it was while
// every node's room keeps changing. The p50 and p99 are of the decisions' own times, clock included.
func BenchmarkDecide(b *testing.B) {
	for _, policy := range []struct {
		name string
		w    Weights
	}{{"spread", Spread}, {"pack", Pack}} {
		for _, nodes := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/nodes=%d", policy.name, nodes), func(b *testing.B) {
				benchmarkDecide(b, newFleet(1), nodes, policy.w)
			})
		}
	}
}

// BenchmarkDecide_OddSizes asks for sizes that are no border of the board's levels.
func BenchmarkDecide_OddSizes(b *testing.B) {
	for _, nodes := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			benchmarkDecide(b, oddFleet(), nodes, Pack)
		})
	}
}

func oddFleet() *fleet {
	f := newFleet(1)
	for i := range 40 {
		f.flavors = append(f.flavors, flavorOf(fmt.Sprintf("odd%d", i), cluster.Resources{
			VCPUs: int64(1 + i%13), MemoryMiB: int64(300 + 700*i), DiskGiB: int64(3 + 5*i),
		}))
	}
	return f
}

// BenchmarkDecide_ManyClasses has 16 zones, so 64 classes.
func BenchmarkDecide_ManyClasses(b *testing.B) {
	for _, nodes := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			f := newFleet(1)
			f.zones = nil
			for i := range 16 {
				f.zones = append(f.zones, fmt.Sprintf("zone%d", i))
			}
			benchmarkDecide(b, f, nodes, Spread)
		})
	}
}

// BenchmarkDecide_NearlyFull has one free node in fifty, so that most of the board is empty and some requests find nothing.
func BenchmarkDecide_NearlyFull(b *testing.B) {
	for _, nodes := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			f := newFleet(1)
			f.crowded = true
			benchmarkDecide(b, f, nodes, Spread)
		})
	}
}

// BenchmarkDecide_NearlyFullOddSizes is the worst case: what is free is too small for most requests, and the board cannot tell.
func BenchmarkDecide_NearlyFullOddSizes(b *testing.B) {
	for _, nodes := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			f := oddFleet()
			f.crowded = true
			benchmarkDecide(b, f, nodes, Spread)
		})
	}
}

// claim is one that will be released.
type claim struct {
	node cluster.NodeID
	r    cluster.Resources
}

func benchmarkDecide(b *testing.B, f *fleet, nodes int, w Weights) {
	x := f.index(nodes, Options{Weights: w, Seed: 1})
	requests := make([]Request, 4096)
	for i := range requests {
		requests[i] = f.request()
	}
	order := make([]uint32, 1<<16)
	for i := range order {
		order[i] = f.rng.Uint32()
	}
	held := make([]claim, min(4*nodes, 8192))
	took := make([]time.Duration, b.N)
	missed := 0
	decide := func(i int) time.Duration {
		r := &requests[order[i%len(order)]%uint32(len(requests))]
		out := &held[order[(i*7+1)%len(order)]%uint32(len(held))]
		if out.node != "" {
			x.Release(out.node, out.r)
		}
		start := time.Now()
		c, ok := x.Choose(r)
		if ok {
			x.Claim(c.Node, r.Resources)
		}
		d := time.Since(start)
		*out = claim{}
		if ok {
			*out = claim{c.Node, r.Resources}
		} else {
			missed++
		}
		return d
	}
	for i := range 20_000 {
		decide(i)
	}
	missed = 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		took[i] = decide(i)
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(float64(took[len(took)*999/1000].Nanoseconds()), "p99.9-ns")
	b.ReportMetric(100*float64(missed)/float64(b.N), "%none")
	b.ReportMetric(float64(len(x.classFor)), "classes")
}

// BenchmarkChooseMany_AntiAffinity is a burst of a thousand members of one group: each on a node of its own.
func BenchmarkChooseMany_AntiAffinity(b *testing.B) {
	for _, nodes := range []int{1_500, 100_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			f := newFleet(1)
			x := f.index(nodes, Options{Seed: 1})
			w := &wishes{group: &grouping{of: &cluster.ServerGroup{ID: "g", Policy: cluster.AntiAffinity}}}
			rs := make([]Request, 1000)
			for i := range rs {
				rs[i] = NewRequest(&cluster.Spec{Flavor: f.flavors[0]}, nil, nil)
				rs[i].Instance, rs[i].wishes = cluster.InstanceID(fmt.Sprint(i)), w
			}
			for b.Loop() {
				for i, d := range x.ChooseMany(rs) {
					if d.Node != "" {
						x.ReleaseRequest(d.Node, &rs[i])
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rs)), "ns/decision")
		})
	}
}
