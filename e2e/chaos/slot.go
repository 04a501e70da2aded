package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// crowdAtSlot is how many ask for the last place at once.
const crowdAtSlot = 200

// lastSlot lets many ask, through all nodes at once, for servers of which each node takes one, while one place is left. Exactly one more is made.
func (t *town) lastSlot(ctx context.Context) []string {
	if !t.sim {
		return nil
	}
	order := func(name string) cloud.Request {
		r := t.order(name, unguarded)
		r.Body.(map[string]any)["server"].(map[string]any)["flavorRef"] = t.stage.wide
		return r
	}
	for i := range len(t.peers) - 1 {
		if err := t.ask(ctx, order(fmt.Sprintf("wide%d", i)), nil, http.StatusAccepted); err != nil {
			return []string{err.Error()}
		}
	}
	if err := t.rested(ctx, len(t.peers)-1); err != nil {
		return []string{err.Error()}
	}
	var all sync.WaitGroup
	turns := make(chan int)
	for i := range len(t.peers) * 4 {
		all.Go(func() {
			for turn := range turns {
				r := order(fmt.Sprintf("slot%d", turn))
				if a, err := t.send(ctx, t.peers[i%len(t.peers)], r); err != nil || a.Status/100 != 2 && !undecided(a.Status) {
					t.fault("ask for the last place: %d %v %s", a.Status, err, a.Body)
				}
			}
		})
	}
	for turn := range crowdAtSlot {
		turns <- turn
	}
	close(turns)
	all.Wait()
	if err := t.rested(ctx, len(t.peers)); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// rested waits until nothing is under way with any wide server, and so many run.
func (t *town) rested(ctx context.Context, want int) error {
	_, faults := t.settleFor(ctx, func() []string {
		a, err := t.account(ctx)
		if err != nil {
			return []string{err.Error()}
		}
		run, wait := 0, 0
		for _, s := range a.Servers {
			switch {
			case !strings.HasPrefix(s.Name, "wide") && !strings.HasPrefix(s.Name, "slot"):
			case s.Status == "ACTIVE" && s.Task == nil:
				run++
			case s.Status != "ERROR":
				wait++
			}
		}
		if run != want || wait > 0 {
			return []string{fmt.Sprintf("%d wide servers run where %d have room, and %d are on their way", run, want, wait)}
		}
		return nil
	})
	if len(faults) > 0 {
		return fmt.Errorf("the last place: %v", faults)
	}
	return nil
}
