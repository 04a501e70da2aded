// Package recent is a map of bounded size that forgets what was not used for long.
//
// What it promises: a Map never holds more than its limit, and what is asked for again and again stays. It relies on nothing.
//
// Concurrency: a Map may be used by many goroutines at once.
package recent

import "sync"

// Map is a map of bounded size. It keeps two generations: when the young one is full it becomes the old one, and what nobody
// asked for since is dropped with the next turn.
type Map[K comparable, V any] struct {
	mu         sync.Mutex
	max        int // of each generation
	young, old map[K]V
}

// New makes a Map that holds limit entries at most.
func New[K comparable, V any](limit int) *Map[K, V] {
	return &Map[K, V]{max: max(1, limit/2), young: map[K]V{}}
}

// Get finds a value.
func (m *Map[K, V]) Get(k K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.young[k]; ok {
		return v, true
	}
	v, ok := m.old[k]
	if ok {
		m.add(k, v)
	}
	return v, ok
}

// Put sets a value.
func (m *Map[K, V]) Put(k K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(k, v)
}

// Drop forgets a value.
func (m *Map[K, V]) Drop(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.young, k)
	delete(m.old, k)
}

// OrPut finds a value or sets the one that is made.
func (m *Map[K, V]) OrPut(k K, make func() V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.young[k]
	if !ok {
		if v, ok = m.old[k]; !ok {
			v = make()
		}
		m.add(k, v)
	}
	return v
}

// Len is how many entries it holds.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.young)
	for k := range m.old {
		if _, ok := m.young[k]; !ok {
			n++
		}
	}
	return n
}

func (m *Map[K, V]) add(k K, v V) {
	if _, ok := m.young[k]; !ok && len(m.young) >= m.max {
		m.old, m.young = m.young, make(map[K]V)
	}
	m.young[k] = v
}
