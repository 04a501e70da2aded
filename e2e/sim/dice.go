package sim

import "time"

// dice gives numbers that depend on the seed and on what they are for, never on how many were drawn before. So the order in
// which goroutines that run at the same instant draw does not matter.
type dice uint64

// Constants of FNV-1a (64 bit) and of the finalizer of splitmix64.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
	mixOne    = 0xbf58476d1ce4e5b9
	mixTwo    = 0x94d049bb133111eb
)

func (d dice) draw(what string, more ...uint64) uint64 {
	h := fnvOffset ^ uint64(d)
	for i := range len(what) {
		h = (h ^ uint64(what[i])) * fnvPrime
	}
	h = mix(h)
	for _, n := range more {
		h = mix(h ^ n*fnvPrime)
	}
	return h
}

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * mixOne
	h = (h ^ h>>27) * mixTwo
	return h ^ h>>31
}

// below gives a number from 0 to n-1.
func (d dice) below(n int, what string, more ...uint64) int {
	return int(d.draw(what, more...) % uint64(n))
}

// between gives a duration from least up to, and without, most.
func (d dice) between(least, most time.Duration, what string, more ...uint64) time.Duration {
	return least + time.Duration(d.draw(what, more...)%uint64(most-least))
}

// chance is true in so many per cent of the cases.
func (d dice) chance(percent int, what string, more ...uint64) bool {
	return d.below(100, what, more...) < percent
}
