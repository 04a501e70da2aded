package crash

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cue"
)

// auditTimeout is how long the cluster may take to clear everything away after a wave.
const auditTimeout = 90 * time.Second

// troupe plays on one town.
type troupe struct {
	town  *town
	stage *stage
	deeds map[string]*deed
	count int

	mu    sync.Mutex
	traps map[*play]*trap
}

// newTroupe makes a town and what servers need.
func newTroupe(ctx context.Context, binary, dir, loopback string) (*troupe, error) {
	t, err := newTown(ctx, binary, dir, loopback)
	if err != nil {
		return nil, err
	}
	s, err := furnish(ctx, t.api)
	if err != nil {
		t.close()
		return nil, err
	}
	r := &troupe{town: t, stage: s, deeds: map[string]*deed{}, traps: map[*play]*trap{}}
	for _, d := range deeds() {
		r.deeds[d.name] = &d
	}
	return r, nil
}

// lot tells what may be done at the same time as a deed. All deeds after a power cut lose the same host.
func (r *troupe) lot(deed string) lot {
	switch d := r.deeds[deed]; {
	case d.few > 0:
		return lot{d.name, d.few}
	case d.away:
		return lot{"away", castSize}
	}
	return lot{"", castSize}
}

func (r *troupe) trap(p *play) *trap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.traps[p]
}

// place makes the trap of a play, which is empty still.
func (r *troupe) place(p *play) *trap {
	t := &trap{point: p.cue.Point, harm: p.cue.Harm, hit: p.cue.Hit}
	for _, s := range p.scopes() {
		t.places = append(t.places, p.cue.Point+"@"+s)
	}
	for _, at := range r.town.peers {
		isHome := at.name == p.home
		if p.cue.Side == cue.Either || (p.cue.Side == cue.Home) == isHome {
			t.peers = append(t.peers, at)
			t.from = append(t.from, at.traced())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traps[p] = t
	return t
}

// wave is some plays at the same time.
type wave struct {
	*troupe
	plays     []*play
	since     map[*peer]int64 // the traces when the deeds began
	until     map[*peer]int64 // and when they were over
	rehearsal bool
	victim    *peer // whose host loses its power before the deeds; nil: none
	faults    []string
}

// cast makes the plays of a wave.
func (r *troupe) cast(cues []cue.Cue) *wave {
	w := &wave{troupe: r, since: map[*peer]int64{}, until: map[*peer]int64{}}
	for _, c := range cues {
		r.count++
		p := &play{troupe: r, deed: r.deeds[c.Deed], cue: c, name: fmt.Sprintf("c%d-%s", r.count, c.Deed)}
		if p.deed.away {
			w.victim = r.town.peers[r.count%townSize]
		}
		w.plays = append(w.plays, p)
		w.rehearsal = w.rehearsal || c.Harm == cue.None
	}
	if w.victim != nil {
		for _, p := range w.plays {
			p.host = w.victim.name
		}
	}
	return w
}

// run plays a wave, and leaves nothing behind.
func (w *wave) run(ctx context.Context) {
	if err := w.town.complete(ctx); err != nil {
		w.faults = append(w.faults, err.Error())
		return
	}
	w.each(func(p *play) {
		if err := p.prepare(ctx); err != nil {
			p.fault("it could not be prepared: %v", err)
		}
	})
	if w.victim != nil {
		w.check(w.fell(ctx))
	}
	for _, p := range w.town.peers {
		w.since[p] = p.traced()
	}
	w.each(func(p *play) {
		if len(p.faults) == 0 {
			p.perform(ctx)
		}
	})
	if w.rehearsal {
		pause(ctx, lateBy)
	}
	for _, p := range w.town.peers {
		w.until[p] = p.traced()
	}
	if w.victim != nil {
		w.check(w.victim.restore())
	}
	w.check(w.town.complete(ctx))
	w.each(func(p *play) {
		if err := p.decide(ctx); err != nil {
			p.fault("end its move: %v", err)
		}
	})
	w.audit(ctx)
	w.check(w.sweep(ctx))
	w.audit(ctx)
	w.faults = append(w.faults, w.town.chronicle.Twice()...)
	w.faults = append(w.faults, w.town.taken()...)
	w.town.chronicle.Forget()
}

func (w *wave) check(err error) {
	if err != nil {
		w.faults = append(w.faults, err.Error())
	}
}

// each lets all plays do something at the same time.
func (w *wave) each(do func(*play)) {
	var all sync.WaitGroup
	for _, p := range w.plays {
		all.Go(func() { do(p) })
	}
	all.Wait()
}

// fell takes the power from the victim and waits until the others know.
func (w *wave) fell(ctx context.Context) error {
	if err := w.victim.cut(); err != nil {
		return err
	}
	return w.town.poll(ctx, func() error {
		for _, at := range w.town.peers {
			if at == w.victim {
				continue
			}
			nodes, err := w.town.api.nodesAt(ctx, at)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(nodes, func(n audit.Machine) bool { return n.Name == w.victim.name && n.State == "up" }) {
				return fmt.Errorf("%s takes %s to be up", at.name, w.victim.name)
			}
		}
		return nil
	})
}

// decide ends a move that waits for its user.
func (p *play) decide(ctx context.Context) error {
	if p.id == "" {
		return nil
	}
	s, err := p.api().server(ctx, p.id)
	if err != nil || s.Status != "VERIFY_RESIZE" {
		return nil // gone, or somewhere else
	}
	if err := act("confirmResize", nil)(ctx, p); err != nil {
		return err
	}
	_, err = p.await(ctx, nil, nil)
	return err
}

// audit looks at the whole cluster until it finds no fault, or has looked for long enough.
func (w *wave) audit(ctx context.Context) {
	until := time.Now().Add(auditTimeout)
	for {
		a, err := w.town.account(ctx)
		var faults []string
		if err != nil {
			faults = []string{err.Error()}
		} else {
			faults = a.Faults()
		}
		if len(faults) == 0 {
			return
		}
		if time.Now().After(until) || !pause(ctx, 4*lookEvery) {
			w.faults = append(w.faults, faults...)
			return
		}
	}
}

// account asks for everything.
func (t *town) account(ctx context.Context) (*audit.Account, error) {
	a, err := audit.Ask(ctx, t.api.get, t.api.project)
	if err != nil {
		return nil, err
	}
	t.catchUp(t.peers...)
	a.Hosts = t.chronicle.Hosts()
	for _, p := range t.peers {
		a.Left[p.name] = append(audit.Files(p.dir, "volumes"), audit.Files(p.dir, "captures")...)
	}
	a.Left["the shared directory"] = audit.Files(t.shared(), "volumes")
	return a, nil
}

// sweep deletes all servers, volumes, snapshots and images of the plays.
func (w *wave) sweep(ctx context.Context) error {
	a, err := w.town.account(ctx)
	if err != nil {
		return err
	}
	api := w.town.api
	drop := func(method, path string, body any) error {
		err := api.ask(ctx, method, path, body, nil)
		if no, ok := err.(*refused); ok && no.status == http.StatusNotFound {
			return nil
		}
		return err
	}
	for _, s := range a.Servers {
		if err := drop(http.MethodPost, "/compute/v2.1/servers/"+s.ID+"/action", map[string]any{"forceDelete": nil}); err != nil {
			return err
		}
	}
	for _, p := range a.Images {
		if p.ID == w.stage.image {
			continue
		}
		if err := drop(http.MethodDelete, "/image/v2/images/"+p.ID, nil); err != nil {
			return err
		}
	}
	if err := w.sweepSnapshots(ctx, drop); err != nil {
		return err
	}
	return w.town.poll(ctx, func() error { return w.sweepVolumes(ctx, drop) })
}

func (w *wave) sweepSnapshots(ctx context.Context, drop func(method, path string, body any) error) error {
	path := "/volume/v3/" + w.town.api.project + "/snapshots"
	return w.town.poll(ctx, func() error {
		var got struct {
			Snapshots []struct{ ID, Status string }
		}
		if err := w.town.api.get(ctx, path, &got); err != nil || len(got.Snapshots) == 0 {
			return err
		}
		for _, s := range got.Snapshots {
			if s.Status != "deleting" {
				if err := drop(http.MethodDelete, path+"/"+s.ID, nil); err != nil {
					return err
				}
			}
		}
		return fmt.Errorf("%d snapshots are left", len(got.Snapshots))
	})
}

// sweepVolumes deletes what is free, and says what is left.
func (w *wave) sweepVolumes(ctx context.Context, drop func(method, path string, body any) error) error {
	a, err := w.town.account(ctx)
	if err != nil || len(a.Volumes) == 0 {
		return err
	}
	var left []string
	for _, v := range a.Volumes {
		left = append(left, v.Name+" "+v.Status)
		if v.Status == "deleting" || len(v.Attachments) > 0 {
			continue
		}
		if err := drop(http.MethodDelete, "/volume/v3/"+w.town.api.project+"/volumes/"+v.ID, nil); err != nil {
			return err
		}
	}
	return fmt.Errorf("volumes are left: %v", left)
}

// heard tells where each play of a wave came by, in the order of places: as cues without harm. Places behind each commit have no side.
func (w *wave) heard(p *play) []cue.Cue {
	counts := map[cue.Cue]int{}
	mine := p.scopes()
	for _, at := range w.town.peers {
		where := cue.Away
		switch {
		case p.deed.makes:
			where = cue.Either
		case at.name == p.home:
			where = cue.Home
		}
		for _, h := range at.hits(w.since[at], w.until[at]) {
			if !slices.ContainsFunc(h.scopes, func(s string) bool { return slices.Contains(mine, s) }) {
				continue
			}
			c := cue.Cue{Deed: p.deed.name, Point: h.point, Side: where}
			if strings.HasPrefix(h.point, cue.BehindCommits) {
				c.Side = cue.Either
			}
			counts[c]++
		}
	}
	return cue.Heard(counts)
}
