package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A seed that failed is played again. The harms have to be the same ones, whatever the cluster does.
func TestDraw_TheSameSeedGivesTheSameHarms(t *testing.T) {
	p := plan{seed: 8, nodes: 5, long: true}
	names := harmNames("libvirt")
	a, b := rand.New(rand.NewPCG(p.seed, 1)), rand.New(rand.NewPCG(p.seed, 1))
	met, longest := map[string]bool{}, time.Duration(0)
	for range 1000 {
		c, again := p.draw(a, names), p.draw(b, names)
		if c.harm != again.harm || c.after != again.after || c.victim != again.victim || c.last != again.last || c.dice != again.dice || !slices.Equal(c.order, again.order) {
			t.Fatalf("%+v, and again %+v", c, again)
		}
		met[c.harm] = true
		longest = max(longest, c.last)
	}
	if len(met) != len(names) || longest != 2*time.Minute {
		t.Errorf("of %d kinds of harms %d come, and last %s at most", len(names), len(met), longest)
	}
	p.long, p.only = false, names[0]
	for range 100 {
		if c := p.draw(a, names); c.harm != p.only || c.last >= 30*time.Second {
			t.Errorf("only %s, and short: %+v", p.only, c)
		}
	}
}
