package node

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// The nodes of a cluster are upgraded one after the other, and one of them gets another address meanwhile. The command that says so is of the new
// version: it is not used as long as a node knows only the older one, and then it is. What was acknowledged during all that is there.
func TestUpgrade_NewCommandsWaitForTheLastNode(t *testing.T) {
	l := newLAN(t)
	older := func(i int) Config {
		cfg := l.config(i)
		cfg.commands = cluster.RelocateCommands - 1
		return cfg
	}
	if _, err := Init(older(1)); err != nil {
		t.Fatal(err)
	}
	n1 := l.run(older(1))
	l.until("the first node leads", func() bool { return n1.ask(http.MethodGet, "", nil, nil) == nil })
	others := make([]*running, 2)
	for i := range others {
		cfg := older(2 + i)
		if err := Join(t.Context(), cfg, n1.cfg.Bind, l.token(n1, nil)); err != nil {
			t.Fatal(err)
		}
		others[i] = l.run(cfg)
	}
	n2, n3 := others[0], others[1]
	l.until("three voters", func() bool { return n2.votersUp(3) && n3.votersUp(3) })
	w := l.writes(n2)
	upgrade := func(r *running, bind string) *running {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		cfg := r.cfg
		cfg.commands, cfg.MovedFrom, cfg.Bind = 0, cfg.Bind, bind
		return l.run(cfg)
	}
	n2 = upgrade(n2, n2.cfg.Bind)
	l.until("the second is back", func() bool { return n2.votersUp(3) && n3.votersUp(3) })
	was, now := n1.cfg.Bind, l.config(11).Bind
	n1 = upgrade(n1, now)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if nodes, err := n3.nodes(); err == nil && nodes["n1"].Address != was {
			t.Fatal("a command was used that one of the nodes does not know")
		}
	}
	n3 = upgrade(n3, n3.cfg.Bind)
	l.until("all know the new command, and it was used", func() bool { return n3.knows("n1", now) && n2.knows("n1", now) && n1.votersUp(3) })
	made := w.end()
	if len(made) == 0 {
		t.Fatal("nothing was acknowledged meanwhile, so this proves nothing")
	}
	for _, r := range []*running{n1, n2, n3} {
		var res struct{ Tokens []clusterapi.Token }
		if err := r.ask(http.MethodGet, "/tokens", nil, &res); err != nil {
			t.Fatal(err)
		}
		for _, id := range made {
			if !slices.ContainsFunc(res.Tokens, func(t clusterapi.Token) bool { return t.ID == id }) {
				t.Errorf("what was acknowledged is not at %s: %s", r.cfg.Name, id)
			}
		}
	}
}

// writes makes join tokens through a node, again and again, whether it answers or not.
type writes struct {
	stop chan struct{}
	once sync.Once
	done sync.WaitGroup
	made []cluster.TokenID // that were acknowledged
}

func (l *lan) writes(through *running) *writes {
	w := &writes{stop: make(chan struct{})}
	w.done.Go(func() {
		for {
			var made clusterapi.Token
			if through.ask(http.MethodPost, "/tokens", map[string]any{}, &made) == nil {
				w.made = append(w.made, made.ID)
			}
			select {
			case <-w.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	l.t.Cleanup(func() { w.end() })
	return w
}

// end gives what was acknowledged.
func (w *writes) end() []cluster.TokenID {
	w.once.Do(func() { close(w.stop) })
	w.done.Wait()
	return w.made
}
