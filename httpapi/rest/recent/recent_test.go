package recent

import "testing"

// A map of ten sees a thousand keys, one of which is asked for all the time. It never grows beyond ten and keeps that one.
func TestMap_IsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	m := New[int, int](10)
	for i := range 1000 {
		m.Put(i, i)
		m.Get(0)
		if n := m.Len(); n > 10 {
			t.Fatalf("holds %d", n)
		}
	}
	if _, ok := m.Get(0); !ok {
		t.Error("forgot what was used all the time")
	}
	if _, ok := m.Get(500); ok {
		t.Error("kept what nobody asked for")
	}
	m.Drop(0)
	if v := m.OrPut(0, func() int { return 7 }); v != 7 {
		t.Errorf("dropped, and still %d", v)
	}
}
