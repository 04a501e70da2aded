package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cue"
)

// How long things may take.
const (
	settleTimeout = 3 * time.Minute // from the request until its operation is done or undone
	lookEvery     = 50 * time.Millisecond
	lateBy        = 2500 * time.Millisecond // a place may be come by so long after its operation has ended: what was left is cleared away
	electTimeout  = 30 * time.Second
)

// What is done here beside the leader's death.
const (
	kill    cue.Harm = "kill"  // the daemon that comes by is killed
	failing cue.Harm = "error" // what was to be done there fails
)

// play is one deed, done to one server, with one thing that goes wrong.
type play struct {
	troupe *troupe
	deed   *deed
	cue    cue.Cue
	name   string
	host   string // where the server is to be made; "": anywhere

	id     string // of the server
	extra  string // ID of the volume that the deed is about
	home   string // name of the server's host before
	before memory

	faults []string
	struck bool // the thing did go wrong
	undone bool // the operation was rolled back
	took   time.Duration
}

// memory is what must not be lost.
type memory struct {
	on    time.Time // when the guest's present boot began
	boots int       // how often its disk was booted
}

func (p *play) api() *client { return p.troupe.town.api }

func (p *play) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// prepare makes the server and all that the deed needs.
func (p *play) prepare(ctx context.Context) error {
	if p.deed.makes {
		return nil
	}
	all := []step{{createServer, "ACTIVE"}}
	if p.deed.volume {
		all = append(all, step{bootVolume, ""})
	}
	all = append(all, p.deed.before...)
	for _, s := range all {
		if err := s.ask(ctx, p); err != nil {
			return err
		}
		if s.wait == "" {
			continue
		}
		if _, err := p.await(ctx, []string{s.wait}, nil); err != nil {
			return err
		}
	}
	s, err := p.api().server(ctx, p.id)
	if err != nil {
		return err
	}
	p.home = s.Host
	p.before = p.remember(p.home)
	return nil
}

// remember looks what the guest's memory and disk hold on its host.
func (p *play) remember(host string) memory {
	p.troupe.town.catchUp(p.troupe.town.peers...)
	h := p.troupe.town.chronicle.On(p.id)[host]
	m := memory{on: h.Last().On}
	if f := h.Root(); f != nil {
		m.boots = f.Notes.Boots
	}
	return m
}

// await waits until nothing is under way with the server and also says nothing against it. A server that is gone has the status "".
func (p *play) await(ctx context.Context, statuses []string, also func(*audit.Server) error) (*audit.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var last error
	for {
		s, err := p.api().server(ctx, p.id)
		if ctx.Err() != nil {
			return s, fmt.Errorf("wait until it is one of %q: %w", statuses, last)
		}
		if no, ok := err.(*refused); ok && no.status == http.StatusNotFound {
			s, err = &audit.Server{ID: p.id}, nil
		}
		if err == nil && s.Settled() && (statuses == nil || slices.Contains(statuses, s.Status)) {
			if also == nil {
				return s, nil
			}
			if err = also(s); err == nil {
				return s, nil
			}
		}
		task := ""
		if s.Task != nil {
			task = *s.Task
		}
		last = errors.Join(fmt.Errorf("it is %q with the task %q", s.Status, task), err)
		pause(ctx, lookEvery)
	}
}

// perform does the deed while something goes wrong, and judges what came of it.
func (p *play) perform(ctx context.Context) {
	start := time.Now()
	over, err := p.arm(ctx)
	if err == nil {
		err = p.deed.do.ask(ctx, p)
	}
	if err != nil {
		p.fault("it was answered with %v", err)
		over()
		return
	}
	s, err := p.end(ctx)
	if err == nil && !p.wasStruck() {
		until := time.Now().Add(lateBy)
		for !p.wasStruck() && time.Now().Before(until) && pause(ctx, lookEvery) {
		}
		if p.wasStruck() {
			s, err = p.end(ctx)
		}
	}
	p.struck = p.wasStruck()
	over()
	p.took = time.Since(start)
	if err != nil {
		p.fault("it does not come to an end: %v", err)
		return
	}
	p.judge(ctx, s)
}

// end waits until the deed is done or undone, and the server's actions say so.
func (p *play) end(ctx context.Context) (*audit.Server, error) {
	return p.await(ctx, append(slices.Clone(p.deed.done), p.deed.undone...), func(s *audit.Server) error {
		_, err := p.told(ctx)
		return err
	})
}

// told gives what the actions of the server say of the deed; an error: that it is not over.
func (p *play) told(ctx context.Context) (failure string, err error) {
	type action struct {
		Action    string
		RequestID string `json:"request_id"`
		Start     string `json:"start_time"`
		Message   *string
		Events    []struct {
			Event  string
			Result *string
			Finish *string `json:"finish_time"`
		}
	}
	path := "/compute/v2.1/servers/" + p.id + "/os-instance-actions"
	var list struct{ InstanceActions []action }
	if err := p.api().get(ctx, path, &list); err != nil {
		return "", err
	}
	i := slices.IndexFunc(list.InstanceActions, func(a action) bool { return a.Action == p.deed.action })
	if i < 0 {
		return "", fmt.Errorf("its actions do not name %q: %+v", p.deed.action, list.InstanceActions)
	}
	var one struct{ InstanceAction action }
	if err := p.api().get(ctx, path+"/"+list.InstanceActions[i].RequestID, &one); err != nil {
		return "", err
	}
	a := one.InstanceAction
	for _, e := range a.Events {
		if e.Result == nil || e.Finish == nil {
			return "", fmt.Errorf("the event %s of the action %s is not finished", e.Event, a.Action)
		}
		if *e.Result != "Success" && failure == "" {
			failure = e.Event + ": " + *e.Result
		}
	}
	if len(a.Events) == 0 {
		return "", fmt.Errorf("the action %s has no events", a.Action)
	}
	if a.Message != nil {
		failure = *a.Message
	}
	return failure, nil
}

// judge looks whether the answer was honest, and whether anything was lost.
func (p *play) judge(ctx context.Context, s *audit.Server) {
	failure, err := p.told(ctx)
	if err != nil {
		p.fault("%v", err)
		return
	}
	p.undone = failure != ""
	switch {
	case p.undone && !slices.Contains(p.deed.undone, s.Status):
		p.fault("its actions say that it failed (%s), and it is %s", failure, s.Status)
	case !p.undone && !slices.Contains(p.deed.done, s.Status):
		p.fault("its actions say that it succeeded, and it is %s: %s", s.Status, s.Fault.Message)
	case p.undone && p.cue.Harm == cue.None:
		p.fault("nothing went wrong, and it failed: %s", failure)
	}
	if s.Status == "" || s.Status == audit.Offloaded || p.deed.makes || s.Status == "ERROR" {
		return
	}
	now := p.remember(s.Host)
	if p.deed.memory && !now.on.Equal(p.before.on) {
		p.fault("its guest was booted at %s, and before at %s", now.on.Format(time.RFC3339Nano), p.before.on.Format(time.RFC3339Nano))
	}
	if booted := p.troupe.town.chronicle.Booted(p.id); !p.deed.anew && !p.undone && !s.OfVolume() && s.Status != "RESCUE" && now.boots != booted {
		p.fault("its disk was booted %d times and counts %d", booted, now.boots)
	}
}

// arm puts the harm in its place. Call over when the play is.
func (p *play) arm(ctx context.Context) (over func(), err error) {
	over = func() {}
	if p.cue.Harm == cue.None {
		return over, nil
	}
	t := p.troupe.place(p)
	action := string(p.cue.Harm)
	if p.cue.Harm == cue.Leader {
		t.file = filepath.Join(p.troupe.town.dir, p.name+".here")
		action = "wait:" + t.file
	}
	for _, at := range t.peers {
		if err := at.arm(fmt.Sprintf("%d*%s", p.cue.Hit, action), t.places...); err != nil {
			return over, err
		}
	}
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.watch(watching, p)
	}()
	return func() {
		stop()
		<-done
		t.clear()
	}, nil
}

// usurp kills the leader and waits for another one.
func (t *town) usurp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, electTimeout)
	defer cancel()
	var old *peer
	err := t.poll(ctx, func() (err error) { // one may just have been killed for another play's sake
		old, err = t.leader(ctx)
		return err
	})
	if err != nil {
		return err
	}
	old.kill()
	return t.poll(ctx, func() error {
		_, err := t.leader(ctx)
		return err
	})
}

// scopes are what places are come by for that are come by for the play: its server's name and ID, and its volume.
func (p *play) scopes() []string {
	return slices.DeleteFunc([]string{p.name, p.id, p.extra}, func(s string) bool { return s == "" })
}

// absent tells whether a file is not there.
func absent(file string) bool {
	_, err := os.Lstat(file)
	return errors.Is(err, os.ErrNotExist)
}
