package lab

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

// lineLimit bounds the bytes that wait on a rough wire in one direction. What comes when it is full is dropped, as a router would.
const lineLimit = 8 << 20

// Rough says what a wire does to what passes it, in both directions.
type Rough struct {
	Least, Most time.Duration // each frame is late by something in between, so later ones overtake it
	Twice       float64       // the probability that a frame comes twice, the second time with a delay of its own
	Seed        uint64        // of the dice
}

// line keeps frames until they are due. It knows no clock. It is not safe for concurrent use.
type line struct {
	rough   Rough
	dice    *rand.Rand
	waiting frames
	bytes   int
	count   uint64 // of all that came: frames due at the same moment keep their order
}

// frame is one on its way.
type frame struct {
	due   time.Time
	order uint64
	bytes []byte
}

func newLine(r Rough, direction uint64) *line {
	return &line{rough: r, dice: rand.New(rand.NewPCG(r.Seed, direction))}
}

// put takes a frame in. The bytes stay the caller's.
func (l *line) put(b []byte, now time.Time) {
	l.add(b, now)
	if l.dice.Float64() < l.rough.Twice {
		l.add(b, now)
	}
}

func (l *line) add(b []byte, now time.Time) {
	late := l.rough.Least
	if spread := l.rough.Most - l.rough.Least; spread > 0 {
		late += time.Duration(l.dice.Int64N(int64(spread)))
	}
	if l.bytes+len(b) > lineLimit {
		return
	}
	l.bytes += len(b)
	l.count++
	heap.Push(&l.waiting, frame{now.Add(late), l.count, slices.Clone(b)})
}

// take gives the next frame that is due; nil: there is none, and next is when one will be (zero: none waits).
func (l *line) take(now time.Time) (b []byte, next time.Time) {
	if len(l.waiting) == 0 {
		return nil, time.Time{}
	}
	if first := l.waiting[0]; first.due.After(now) {
		return nil, first.due
	}
	f := heap.Pop(&l.waiting).(frame)
	l.bytes -= len(f.bytes)
	return f.bytes, time.Time{}
}

// frames is a heap (container/heap) with the one that is due first on top.
type frames []frame

func (f frames) Len() int      { return len(f) }
func (f frames) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f frames) Less(i, j int) bool {
	if f[i].due.Equal(f[j].due) {
		return f[i].order < f[j].order
	}
	return f[i].due.Before(f[j].due)
}
func (f *frames) Push(x any) { *f = append(*f, x.(frame)) }
func (f *frames) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	(*f)[last] = frame{}
	*f = (*f)[:last]
	return x
}
