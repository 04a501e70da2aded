package crash

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cue"
	"github.com/kilonova/kilonova/node"
	"github.com/kilonova/kilonova/node/operate"
	"github.com/kilonova/kilonova/node/reconcile"
)

const binaryEnv = "KILONOVA_BIN" // names the kilonova program under test

var (
	whole    = flag.Bool("whole", false, "everything that can go wrong, not only a representative part")
	only     = flag.String("only", "", "a regular expression: which cues, as they are printed")
	loopback = flag.String("loopback", "127.0.41", "first three numbers of the nodes' addresses")
	seed     = flag.Uint64("seed", 1, "chooses the part, and what happens at the same time")
)

// unmet are places that no deed comes by, each with its reason.
var unmet = map[string]string{
	"operate/landing/before-arrival": "only a migration that failed asks what became of its guest; it is come by when others are harmed",
	"volumes/grow-volume/before":     "extending is a single step of a volume's life, not of an instance's",
	"volumes/grow-volume/after":      "as before it",
	"volumes/upload-volume/before":   "making an image of a volume is a single step of a volume's life, not of an instance's",
	"volumes/upload-volume/after":    "as before it",
	"volumes/remove-snapshot/before": "a snapshot is deleted by itself, not by an operation of an instance",
	"volumes/remove-snapshot/after":  "as before it",
}

// Whoever carries out an operation of an instance dies at a place on the way, or the leader does, or something fails there: at every place that the
// operations come by, which is found out by letting them go well first. Each is finished or undone, the guest ran at most once at every
// moment, and nothing is lost or left over.
func TestCrash(t *testing.T) {
	binary := os.Getenv(binaryEnv)
	if testing.Short() || binary == "" {
		t.Skip("crashes need " + binaryEnv + " (make test sets it), and are left out of -short")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "kilonova-crash-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Log("the nodes' logs are in", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	r, err := newTroupe(ctx, binary, dir, *loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer r.town.close()
	var score tally
	defer func() {
		if t.Failed() {
			t.Log(r.town.tell(score.faults))
		}
	}()
	heard := rehearse(ctx, t, r, &score)
	if t.Failed() {
		return
	}
	score = tally{} // without the rehearsal
	all := programme(heard)
	part := all
	switch {
	case *only != "":
		chosen := regexp.MustCompile(*only)
		part = slices.DeleteFunc(slices.Clone(all), func(c cue.Cue) bool { return !chosen.MatchString(c.String()) })
	case !*whole:
		part = representative(all, *seed)
	}
	s := show{troupe: r, tally: &score, struck: map[cue.Cue]bool{}, tried: map[cue.Cue]bool{}}
	missed := s.play(ctx, t, waves(part, castSize, *seed, r.lot))
	for try := range uint64(encores) {
		if len(missed) > 0 {
			missed = s.play(ctx, t, waves(instead(missed, all, s.tried, *seed+try), fewer, *seed, r.lot))
		}
	}
	for _, c := range missed {
		score.fail(t, fault{fmt.Sprintf("%s: neither that nor another of its kind was come by, as in the rehearsal", c), ""})
	}
	t.Logf("%d plays: %d struck, %d undone, %d not come by", score.plays, score.struck, score.undone, score.missed)
}

// encores is how often it is tried to harm another of a kind of which none was come by. What happened for the sake of others may have ended an
// operation before, and not every place is come by each time.
const encores = 3

// show is all that is played.
type show struct {
	*troupe
	tally  *tally
	struck map[cue.Cue]bool // kinds
	tried  map[cue.Cue]bool
}

// play plays all, and gives one of each kind of which none was come by so far.
func (s *show) play(ctx context.Context, t *testing.T, groups [][]cue.Cue) (missed []cue.Cue) {
	t.Helper()
	for i, cues := range groups {
		start := time.Now()
		w := s.cast(cues)
		w.run(ctx)
		report(t, w, s.tally)
		for _, p := range w.plays {
			s.tried[p.cue] = true
			switch {
			case p.struck:
				s.struck[kind(p.cue)] = true
			case len(p.faults) == 0 && p.cue.Hit == 1:
				missed = append(missed, p.cue)
			}
		}
		t.Logf("wave %d of %d: %d plays in %s", i+1, len(groups), len(cues), time.Since(start).Round(time.Second/10))
	}
	seen := map[cue.Cue]bool{}
	return slices.DeleteFunc(missed, func(c cue.Cue) bool {
		again := seen[kind(c)]
		seen[kind(c)] = true
		return again || s.struck[kind(c)]
	})
}

// tally counts how plays ended, and keeps what went wrong.
type tally struct {
	plays, struck, undone, missed int
	faults                        []fault
}

func (s *tally) fail(t *testing.T, f fault) {
	t.Helper()
	s.faults = append(s.faults, f)
	t.Error(f.text)
}

func report(t *testing.T, w *wave, score *tally) {
	t.Helper()
	for _, p := range w.plays {
		score.plays++
		if p.struck {
			score.struck++
		}
		if p.undone {
			score.undone++
		}
		if !p.struck && len(p.faults) == 0 {
			score.missed++
			t.Logf("not come by: %s", p.cue)
		}
		for _, f := range p.faults {
			score.fail(t, fault{fmt.Sprintf("%s (server %s, %s): %s", p.cue, p.id, p.name, f), p.id})
		}
	}
	for _, f := range w.faults {
		score.fail(t, fault{f, ""})
	}
}

// rehearse does every deed without harm, and gives the places that they came by.
func rehearse(ctx context.Context, t *testing.T, r *troupe, score *tally) []cue.Cue {
	t.Helper()
	var heard, cues []cue.Cue
	for _, d := range deeds() {
		cues = append(cues, cue.Cue{Deed: d.name})
	}
	met := map[string]bool{}
	for _, some := range waves(cues, castSize, 0, r.lot) {
		w := r.cast(some)
		w.run(ctx)
		report(t, w, score)
		for _, p := range w.plays {
			for _, c := range w.heard(p) {
				heard = append(heard, c)
				met[c.Point] = true
			}
		}
	}
	for _, point := range slices.Concat(operate.Points(), reconcile.Points(), node.Points()) {
		if met[point] != (unmet[point] == "") {
			score.fail(t, fault{fmt.Sprintf("%s: come by is %t, and the list of places that nothing comes by says otherwise", point, met[point]), ""})
		}
	}
	return heard
}
