package chaos

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Kinds of what clients do. Those of servers and of volumes have the thing's key in Deed.Key.
const (
	kindCreate = "create"
	kindDelete = "delete"
	kindRename = "rename"
	kindLabel  = "label" // sets one item of metadata
	kindRead   = "read"
	kindAct    = "act" // power operations, moves, tags, attachments: what they do is seen in the end

	kindVolume       = "create volume"
	kindVolumeDelete = "delete volume"
)

// outcome is what a client knows about its deed.
type outcome string

const (
	done    outcome = "done"
	refused outcome = "refused" // it was told why not: nothing happened
	unknown outcome = "unknown" // 503, 504, or no answer: it may happen yet
)

// Deed is what a client asked and what it was told. Several requests under one Idempotency-Key are one deed.
type Deed struct {
	Client  int           `json:"client"`
	Kind    string        `json:"kind"`
	Key     string        `json:"key"`           // the thing's own name, given once
	ID      string        `json:"id,omitempty"`  // the thing's, if it is known
	Via     []string      `json:"via"`           // nodes that were asked
	Call    time.Duration `json:"call"`          // since the beginning, on one clock
	Return  time.Duration `json:"return"`        // when the last answer came
	Value   string        `json:"value"`         // that was written
	Saw     *sight        `json:"saw,omitempty"` // of a read that is done
	Outcome outcome       `json:"outcome"`
	Status  int           `json:"status"`         // of the last answer; 0: there was none
	Says    string        `json:"says,omitempty"` // the last answer's text, unless it is what was asked for
	IDs     []string      `json:"ids,omitempty"`  // of a create: what each answer said was made
}

// sight is what a read found.
type sight struct {
	Gone     bool   `json:"gone,omitempty"` // 404
	Deleting bool   `json:"deleting,omitempty"`
	Name     string `json:"name"`
	Label    string `json:"label"`
}

// History is all that clients did, in the order in which they were answered. It is safe for concurrent use.
type History struct {
	begun time.Time
	out   *json.Encoder // each deed is written at once, for whoever has to find out what went wrong

	mu    sync.Mutex
	deeds []Deed
	fault error // the first that writing met
}

func newHistory(out io.Writer) *History {
	return &History{begun: time.Now(), out: json.NewEncoder(out)}
}

// now is the time of the history.
func (h *History) now() time.Duration { return time.Since(h.begun) }

func (h *History) add(d Deed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deeds = append(h.deeds, d)
	if err := h.out.Encode(d); err != nil && h.fault == nil {
		h.fault = err
	}
}

// all gives what was done until now.
func (h *History) all() ([]Deed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Deed(nil), h.deeds...), h.fault
}

// tally counts deeds by kind and outcome.
func tally(deeds []Deed) map[string]int {
	count := map[string]int{}
	for _, d := range deeds {
		count[d.Kind+" "+string(d.Outcome)]++
	}
	return count
}
