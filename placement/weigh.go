package placement

import (
	"math/bits"

	"github.com/kilonova/kilonova/cluster"
)

// The names of the weighers, as explanations show them.
const (
	WeigherCPU      = "cpu"
	WeigherMemory   = "ram"
	WeigherDisk     = "disk"
	WeigherPressure = "pressure"
	WeigherImage    = "image_locality"
	WeigherGroup    = "server_group" // members of a soft group: they count before all else
)

// scoreUnit is a score of 1.0: scores are whole millionths, so that every machine computes the same ones.
const scoreUnit = 1_000_000

// maxWeight bounds a weight, in thousandths, so that scores fit their type.
const maxWeight = 100_000

// Weights is how much each weigher counts, in thousandths. CPU, Memory and Disk multiply the share that is free, so
// positive weights spread instances and negative ones pack them, as in Nova. Pressure multiplies the worse of a node's
// I/O and memory pressure and is subtracted. Image is added for a node that has the instance's image.
type Weights struct {
	CPU      int64
	Memory   int64
	Disk     int64
	Pressure int64
	Image    int64
}

// Spread prefers the node with most room. It is the default.
var Spread = Weights{CPU: 1000, Memory: 1000, Disk: 1000, Pressure: 1000, Image: 200}

// Pack prefers the node with least room.
var Pack = Weights{CPU: -1000, Memory: -1000, Disk: -1000, Pressure: 1000, Image: 200}

func (w Weights) bounded() Weights {
	for _, p := range []*int64{&w.CPU, &w.Memory, &w.Disk, &w.Pressure, &w.Image} {
		*p = min(max(*p, -maxWeight), maxWeight)
	}
	return w
}

// score is a node's score without what depends on the request.
type score struct{ cpu, memory, disk, pressure int64 }

func (s score) total() int64 { return s.cpu + s.memory + s.disk + s.pressure }

// scale turns room into scores: what counts as the whole of each resource, and the range that scores can have.
type scale struct {
	whole cluster.Resources // powers of two, at least the largest node's limits
	low   int64             // the lowest score
	span  int64             // from the lowest to the highest score; at least 1
}

func newScale(w Weights, largest cluster.Resources) scale {
	s := scale{whole: cluster.Resources{
		VCPUs:     powerOfTwo(largest.VCPUs),
		MemoryMiB: powerOfTwo(largest.MemoryMiB),
		DiskGiB:   powerOfTwo(largest.DiskGiB),
	}}
	high := int64(0)
	for _, weight := range []int64{w.CPU, w.Memory, w.Disk, -w.Pressure} {
		s.low += min(0, weight) * (scoreUnit / 1000)
		high += max(0, weight) * (scoreUnit / 1000)
	}
	s.span = max(1, high-s.low)
	return s
}

// powerOfTwo rounds up, so that the scale seldom changes.
func powerOfTwo(n int64) int64 {
	if n <= 1 {
		return 1
	}
	return 1 << min(62, bits.Len64(uint64(n-1)))
}

// score weighs a node by its free room and its pressure in per cent.
func (s *scale) score(w *Weights, free cluster.Resources, pressure int64) score {
	part := func(free, whole, weight int64) int64 {
		free = min(max(free, 0), whole)
		return (free * scoreUnit / whole) * weight / 1000
	}
	return score{
		cpu:      part(free.VCPUs, s.whole.VCPUs, w.CPU),
		memory:   part(free.MemoryMiB, s.whole.MemoryMiB, w.Memory),
		disk:     part(free.DiskGiB, s.whole.DiskGiB, w.Disk),
		pressure: -part(pressure, 100, w.Pressure),
	}
}

// bucket tells in which part of the range a score is; the last bucket holds the best scores.
func (s *scale) bucket(total int64) int {
	return int(min(max((total-s.low)*buckets/s.span, 0), buckets-1))
}
