package e2e

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/cue"
	"github.com/kilonova/kilonova/node"
	"github.com/kilonova/kilonova/node/operate"
	"github.com/kilonova/kilonova/node/reconcile"
)

var (
	onlyPlaces = flag.String("places", "", "of TestOperations_AtEveryPlace: a regular expression of what is played, as it is printed")
	fewPlaces  = flag.Bool("few-places", false, "of TestOperations_AtEveryPlace: one of each operation is played")
	placesSeed = flag.Uint64("places-seed", 1, "of TestOperations_AtEveryPlace: chooses what is played, and what at the same time")
)

const (
	castSize    = 6 // guests, and so plays at the same time
	fewer       = 3 // when it is tried again what the others did not let happen
	encores     = 3 // how often that is tried
	mostInAir   = 2 // live migrations that are played at the same time
	placesLimit = 6 * time.Hour
)

// unmetPlaces are those that none of the operations comes by that are played here, each with its reason. Package e2e/crash comes by most of them, with simulated
// guests.
var unmetPlaces = map[string]string{
	"operate/asking/confirmed":       "only an evacuation asks a destination for the guest",
	"operate/asking/advanced":        "as before it",
	"operate/landing/before-arrival": "only a migration that failed asks what became of its guest",
	"reconcile/unpause/before":       "none of the operations lets a guest go on that was paused",
	"reconcile/unpause/after":        "as before it",
	"reconcile/pause/before":         "none of them pauses a guest",
	"reconcile/pause/after":          "as before it",
	"volumes/attachments/before":     "the guests have no volumes",
	"volumes/attachments/after":      "the guests have no volumes",
	"volumes/make-volume/before":     "the guests have no volumes",
	"volumes/make-volume/after":      "the guests have no volumes",
	"volumes/grow-volume/before":     "the guests have no volumes",
	"volumes/grow-volume/after":      "the guests have no volumes",
	"volumes/upload-volume/before":   "the guests have no volumes",
	"volumes/upload-volume/after":    "the guests have no volumes",
	"volumes/remove-volume/before":   "the guests have no volumes",
	"volumes/remove-volume/after":    "the guests have no volumes",
	"volumes/make-snapshot/before":   "the guests have no volumes",
	"volumes/make-snapshot/after":    "the guests have no volumes",
	"volumes/remove-snapshot/before": "the guests have no volumes",
	"volumes/remove-snapshot/after":  "the guests have no volumes",
}

// Six guests live on three nodes. First each of them goes through one operation unharmed: suspend, snapshot, rebuild, resize, cold and live migration; the
// traces of the failpoints tell which places these come by, at the guest's node and elsewhere. Then everything is done again and again, and held at one of these
// places each time, while somebody dies: the daemon that came by, the libvirtd of its node, or the leader. Whatever it is, the operation is finished or undone
// by itself and its actions say which; the guest has one QEMU, and its memory or its disk is whole; an image boots with all that was acknowledged;
// and the cluster, libvirt and the disks of all nodes agree, with nothing left over.
//
// It takes an hour or more, so only "make test-operations" tells it. A part of it: -args -few-places, or -places REGEX.
func TestOperations_AtEveryPlace(t *testing.T) {
	if !wholeProgramme() {
		t.Skip("told by make test-operations")
	}
	sc := newScene(t)
	s := newLongStage(t, cloud.Options{Nodes: 3, Env: sc.env}, placesLimit)
	s.run("six guests count", func(s *stage) { sc.furnish(s) })
	var all []cue.Cue
	s.run("all goes well once", func(s *stage) { all = sc.rehearse(s) })
	part := all
	switch {
	case *onlyPlaces != "":
		chosen := regexp.MustCompile(*onlyPlaces)
		part = slices.DeleteFunc(slices.Clone(all), func(c cue.Cue) bool { return !chosen.MatchString(c.String()) })
	case *fewPlaces:
		part = oneOfEachDeed(all, *placesSeed)
	}
	t.Logf("%d of %d are played", len(part), len(all))
	missed := sc.playAll(s, part, castSize)
	for range encores {
		if len(missed) > 0 && !*fewPlaces {
			missed = sc.playAll(s, missed, fewer)
		}
	}
	switch {
	case len(missed) == len(part):
		t.Error("not a single harm was done")
	case !*fewPlaces:
		for _, c := range missed {
			t.Errorf("%s: it was never come by there again", c)
		}
	}
}

// rehearse lets each deed be done without harm, and gives all that can go wrong at the places that they come by. A place that is not come by stands in the list.
func (sc *scene) rehearse(s *stage) []cue.Cue {
	var cues []cue.Cue
	for _, d := range deeds() {
		cues = append(cues, cue.Cue{Deed: d.name})
	}
	heard := sc.play(s, cues)
	met := map[string]bool{}
	for _, c := range heard {
		met[c.Point] = true
	}
	for _, point := range slices.Concat(operate.Points(), reconcile.Points(), node.Points()) {
		if !met[point] && unmetPlaces[point] == "" {
			s.t.Errorf("nothing comes by %s, and it is not in the list of such places", point)
		}
	}
	return cue.All(heard, harms...)
}

// playAll plays in waves, and gives the cues whose place was not come by.
func (sc *scene) playAll(s *stage, cues []cue.Cue, size int) (missed []cue.Cue) {
	groups := waves(cues, size, *placesSeed)
	for i, group := range groups {
		began := time.Now()
		s.run(fmt.Sprintf("wave %d of %d", i+1, len(groups)), func(s *stage) { missed = append(missed, sc.play(s, group)...) })
		s.took(fmt.Sprintf("wave %d of %d, %d plays", i+1, len(groups), len(group)), began)
	}
	return missed
}

// Who dies while an operation is held at a place, beside the leader.
const (
	daemon   cue.Harm = "daemon"   // that comes by
	libvirtd cue.Harm = "libvirtd" // of the node that comes by
)

// harms are all of them.
var harms = []cue.Harm{daemon, libvirtd, cue.Leader}

// oneOfEachDeed leaves one cue of each deed, with each of the harms in turn. Which ones depends on the seed alone.
func oneOfEachDeed(all []cue.Cue, seed uint64) []cue.Cue {
	order := cue.Shuffled(all, seed)
	var part []cue.Cue
	for i, d := range deeds() {
		h := harms[i%len(harms)]
		if at := slices.IndexFunc(order, func(c cue.Cue) bool { return c.Deed == d.name && c.Harm == h && c.Hit == 1 }); at >= 0 {
			part = append(part, order[at])
		}
	}
	return part
}

// waves deals cues into groups of at most size that are played at the same time.
func waves(all []cue.Cue, size int, seed uint64) [][]cue.Cue {
	rest := cue.Shuffled(all, seed)
	var groups [][]cue.Cue
	for len(rest) > 0 {
		var group, later []cue.Cue
		inAir := 0
		for _, c := range rest {
			if len(group) == size || c.Deed == liveMigrate && inAir == mostInAir {
				later = append(later, c)
				continue
			}
			if c.Deed == liveMigrate {
				inAir++
			}
			group = append(group, c)
		}
		groups, rest = append(groups, group), later
	}
	return groups
}
