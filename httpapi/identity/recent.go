package identity

import "sync"

// recent is a map of bounded size that forgets what was not used for long. It keeps two generations: when the young one
// is full it becomes the old one, and what nobody asked for since is dropped with the next turn.
type recent[K comparable, V any] struct {
	mu         sync.Mutex
	max        int // of each generation
	young, old map[K]V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	return &recent[K, V]{max: max(1, limit/2), young: map[K]V{}}
}

// get finds a value.
func (m *recent[K, V]) get(k K) (V, bool) {
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

// put sets a value.
func (m *recent[K, V]) put(k K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(k, v)
}

// drop forgets a value.
func (m *recent[K, V]) drop(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.young, k)
	delete(m.old, k)
}

// orPut finds a value or sets the one that is made.
func (m *recent[K, V]) orPut(k K, make func() V) V {
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

func (m *recent[K, V]) add(k K, v V) {
	if _, ok := m.young[k]; !ok && len(m.young) >= m.max {
		m.old, m.young = m.young, make(map[K]V)
	}
	m.young[k] = v
}
