package placement

// maxMatches bounds how many kinds of request are remembered.
const maxMatches = 1024

// match is which classes a kind of request can use.
type match struct {
	classes []int32 // that pass; the mixed class is always among them, when it has nodes
	removed []uint8 // for each class, 1 + the filter that removed it; 0: it passes
}

// passes tells whether a class can be used.
func (m *match) passes(class int32) bool { return m.removed[class] == 0 }

func newClass(key string, f *facts) *class {
	c := &class{key: key, facts: f}
	for b := range c.pages {
		c.pages[b] = none
	}
	return c
}

// joinClass finds the class of a node that has its facts, or makes it.
func (x *Index) joinClass(slot int32, key string) {
	h := &x.hosts[slot]
	n, ok := x.classFor[key]
	if !ok {
		n = x.newClassNumber(key, h.facts)
	}
	c := x.classes[n]
	h.class = n
	if n != mixedClass {
		h.facts = c.facts
	} else if c.nodes == 0 {
		clear(x.matches)
	}
	c.nodes++
}

// newClassNumber makes a class, or, when there are too many, falls back to the mixed one.
func (x *Index) newClassNumber(key string, f *facts) int32 {
	n := int32(len(x.classes))
	for i, c := range x.classes[1:] {
		if c == nil {
			n = int32(i + 1)
			break
		}
	}
	if n >= maxClasses {
		return mixedClass
	}
	if int(n) == len(x.classes) {
		x.classes = append(x.classes, nil)
	}
	x.classes[n] = newClass(key, f)
	x.classFor[key] = n
	clear(x.matches)
	return n
}

// leaveClass takes a node that is not on the board out of its class. A class without nodes goes.
func (x *Index) leaveClass(slot int32) {
	h := &x.hosts[slot]
	if h.class == none {
		return
	}
	c := x.classes[h.class]
	c.nodes--
	if c.nodes == 0 {
		clear(x.matches)
		if h.class != mixedClass {
			delete(x.classFor, c.key)
			x.classes[h.class] = nil
		}
	}
	h.class = none
}

// match tells which classes a request can use. It is worked out once for each kind of request and set of classes.
func (x *Index) match(r *Request) *match {
	key := r.key
	if r.Forced {
		key = "forced"
	}
	if m, ok := x.matches[key]; ok {
		return m
	}
	if len(x.matches) >= maxMatches {
		clear(x.matches)
	}
	m := &match{removed: make([]uint8, len(x.classes))}
	for n, c := range x.classes {
		switch {
		case c == nil || c.nodes == 0:
			continue
		case n != mixedClass:
			m.removed[n] = removedBy(r, subject{facts: c.facts}, onFacts)
		}
		if m.removed[n] == 0 {
			m.classes = append(m.classes, int32(n))
		}
	}
	x.matches[key] = m
	return m
}

// removedBy gives 1 + the number of the first filter of a scope that removes the subject, or 0.
func removedBy(r *Request, s subject, of scope) uint8 {
	for i := range filters {
		f := &filters[i]
		if f.scope == of && f.applies(r) && f.why(r, s) != "" {
			return uint8(i + 1)
		}
	}
	return 0
}
