package chaos

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// judgeTimeout bounds the search for an order of what happened to one server. There may be many, and to find that there is none takes longest.
const judgeTimeout = 30 * time.Second

// register is what a server is to those who read it: whether it is there, its name and one item of its metadata.
type register struct {
	life        stage
	name, label string
}

// stage is how far a server's life is. It never goes back.
type stage int

const (
	unborn stage = iota
	alive
	deleting // acknowledged, and its host has not cleared it yet
	gone
)

// write is the input of an operation: a deed without what was answered.
type write struct{ kind, value string }

// answer is the output of an operation.
type answer struct {
	outcome outcome
	status  int
	saw     sight
}

// registers is the model that porcupine holds histories against. What is refused changes nothing, and says something only where
// it says that there is no such server.
var registers = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		r, w, a := state.(register), input.(write), output.(answer)
		if a.outcome == refused {
			return r.missed(a)
		}
		return r.after(w, a)
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// missed is what follows from a refusal that says that the server is not there. It holds from its deletion on.
func (r register) missed(a answer) (bool, any) {
	if a.status != 404 {
		return true, r
	}
	if r.life != deleting && r.life != gone {
		return false, r
	}
	r.life = gone
	return true, r
}

// after is what follows from a deed that was done, or of which nobody knows.
func (r register) after(w write, a answer) (bool, any) {
	known := a.outcome == done
	switch w.kind {
	case kindCreate:
		if r.life != unborn {
			return false, r
		}
		return true, register{alive, w.value, ""}
	case kindRead:
		return r.shows(a.saw)
	}
	if r.life == unborn || r.life == gone {
		return !known, r // one that nobody knows of did nothing
	}
	switch w.kind {
	case kindDelete:
		r.life = deleting
	case kindRename:
		r.name = w.value
	case kindLabel:
		r.label = w.value
	}
	return true, r
}

// shows tells whether a read may show that.
func (r register) shows(s sight) (bool, any) {
	switch {
	case s.Gone:
		ok := r.life == deleting || r.life == gone
		if ok {
			r.life = gone
		}
		return ok, r
	case s.Deleting:
		return r.life == deleting, r
	}
	return r.life == alive && r.name == s.Name && r.label == s.Label, r
}

// operations gives what happened to each server, by key. A deed of which nobody knows may happen at any time after it was asked, or never; what does not
// say anything, as a read without an answer, is left out. A server whose creation was not acknowledged has no ID to ask for.
func operations(deeds []Deed) map[string][]porcupine.Operation {
	all := map[string][]porcupine.Operation{}
	for _, d := range deeds {
		switch d.Kind {
		case kindCreate:
			if d.Outcome != done {
				continue
			}
		case kindRead:
			if d.Outcome == unknown {
				continue
			}
		case kindDelete, kindRename, kindLabel:
		default:
			continue
		}
		op := porcupine.Operation{ClientId: d.Client, Input: write{d.Kind, d.Value}, Call: int64(d.Call), Return: int64(d.Return)}
		a := answer{outcome: d.Outcome, status: d.Status}
		if d.Saw != nil {
			a.saw = *d.Saw
		}
		if d.Outcome == unknown {
			op.Return = math.MaxInt64
		}
		op.Output = a
		all[d.Key] = append(all[d.Key], op)
	}
	return all
}

// disordered lists the servers whose history has no order in which each answer is right, or for which none was found in time.
func disordered(deeds []Deed) []string {
	var all []string
	byKey := operations(deeds)
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		switch porcupine.CheckOperationsTimeout(registers, byKey[key], judgeTimeout) {
		case porcupine.Illegal:
			all = append(all, fmt.Sprintf("server %s: no order of its %d operations explains what was answered", key, len(byKey[key])))
		case porcupine.Unknown:
			all = append(all, fmt.Sprintf("server %s: no order of its %d operations was found within %s", key, len(byKey[key]), judgeTimeout))
		}
	}
	return all
}
