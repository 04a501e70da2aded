package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/cue"
	"github.com/kilonova/kilonova/e2e/guest"
)

// playLimit is how long the operations of a wave may take until each is done or undone.
const playLimit = 6 * time.Minute

// liveMigrate is the deed of which a node does only a few at the same time.
const liveMigrate = "live-migrate"

// deed is one operation of an instance's life.
type deed struct {
	name   string
	action string                       // as it is asked for
	record string                       // Nova's name of it in the instance's actions
	body   func(sc *scene, p *play) any // what it is asked with

	done, undone string // the statuses in which it may leave the server
	paused       bool   // the guest stands still meanwhile

	finish string                                // the action that brings a guest to ACTIVE that it was done with; "": none is needed
	kept   func(now, before guest.Console) error // what holds of the guest then
}

func nothing(*scene, *play) any { return nil }

// deeds are the operations that take more than one step, and change a guest's memory, its disk or its node.
func deeds() []deed {
	return []deed{
		{name: "suspend", action: "suspend", record: "suspend", body: nothing, done: "SUSPENDED", undone: "ACTIVE",
			finish: "resume", kept: guest.Console.WentOn},
		{name: "snapshot", action: "createImage", record: "createImage", done: "ACTIVE", undone: "ACTIVE", kept: guest.Console.WentOn,
			body: func(_ *scene, p *play) any { return map[string]string{"name": "of " + p.ID} }},
		{name: "rebuild", action: "rebuild", record: "rebuild", done: "ACTIVE", undone: "ACTIVE", kept: guest.Console.HasNewDisk,
			body: func(sc *scene, _ *play) any { return map[string]string{"imageRef": sc.image} }},
		{name: "resize", action: "resize", record: "resize", done: "VERIFY_RESIZE", undone: "ACTIVE",
			finish: "confirmResize", kept: guest.Console.BeganAnew,
			body: func(sc *scene, p *play) any {
				if sc.grown[p.ID] {
					return map[string]string{"flavorRef": sc.flavors[0]}
				}
				return map[string]string{"flavorRef": sc.flavors[1]}
			}},
		{name: "migrate", action: "migrate", record: "migrate", body: nothing, done: "VERIFY_RESIZE", undone: "ACTIVE",
			finish: "revertResize", kept: guest.Console.BeganAnew},
		{name: liveMigrate, action: "os-migrateLive", record: "live-migration", done: "PAUSED", undone: "PAUSED", paused: true,
			finish: "unpause", kept: guest.Console.WentOn,
			body: func(*scene, *play) any { return map[string]any{"host": nil, "block_migration": "auto"} }},
	}
}

// play is one deed, done to one guest, with one thing that goes wrong.
type play struct {
	cue cue.Cue
	*life
	deed   deed
	home   string // its node before
	before guest.Console
	newest string // request of the newest action of the deed's kind before
	marks  map[*cloud.Node]string

	asked   chan error
	answer  cloud.Answer // once asked gave nil
	replied bool
	struck  bool
	ended   bool
	failure string // what the actions say; "": it was done
	image   string // that was made
}

// play plays cues at the same time. It gives those whose place was not come by, or, of rehearsals, the places that were.
func (sc *scene) play(s *stage, cues []cue.Cue) (left []cue.Cue) {
	s.t.Helper()
	plays := sc.cast(s, cues)
	rehearsal := cues[0].Harm == cue.None
	for _, n := range s.Nodes {
		if rehearsal {
			sc.say(s, n.Name(), "*=trace:"+sc.trace(n.Name()))
		}
	}
	sc.perform(s, plays)
	if rehearsal {
		time.Sleep(lateBy)
	}
	for _, n := range s.Nodes {
		sc.say(s, n.Name())
	}
	s.must(s.WaitEnabled(s.ctx))
	for _, p := range plays {
		switch {
		case rehearsal:
			left = append(left, sc.heard(s, p)...)
			if p.failure != "" {
				s.t.Errorf("%s: nobody died, and it failed: %s", p.cue, p.failure)
			}
		case !p.struck:
			s.t.Logf("not come by: %s", p.cue)
			left = append(left, p.cue)
		}
	}
	sc.finish(s, plays)
	s.eventually("the cluster and its hosts agree", actLimit, func() error { return sc.disagree(s) })
	return left
}

// cast gives each cue a guest, in turn, that is as its deed needs it.
func (sc *scene) cast(s *stage, cues []cue.Cue) (plays []*play) {
	s.t.Helper()
	all := deeds()
	for i, c := range cues {
		l := sc.lives[i]
		l.stage, l.via = s, s.Nodes[0]
		d := all[slices.IndexFunc(all, func(d deed) bool { return d.name == c.Deed })]
		if d.paused {
			l.acts("pause", nil)
		}
		plays = append(plays, &play{cue: c, life: l, deed: d, home: l.Host, marks: map[*cloud.Node]string{}, asked: make(chan error, 1)})
	}
	sc.lives = append(sc.lives[len(cues):], sc.lives[:len(cues)]...)
	for _, p := range plays {
		p.become(map[bool]string{false: "ACTIVE", true: "PAUSED"}[p.deed.paused])
		p.home, p.before = p.Host, p.told()
		newest, _, err := p.newestAction()
		s.must(err)
		p.newest = newest
	}
	return plays
}

// perform lets all be done, and harms what is to be harmed, until each is done or undone.
func (sc *scene) perform(s *stage, plays []*play) {
	s.t.Helper()
	for _, p := range plays {
		sc.arm(s, p)
	}
	for _, p := range plays {
		r := cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + p.ID + "/action", Body: map[string]any{p.deed.action: p.deed.body(sc, p)}}
		go func() {
			var err error
			if p.answer, err = s.askAny(s.ctx, r); err == nil {
				err = p.answer.Want(http.StatusAccepted, http.StatusOK)
			}
			p.asked <- err
		}()
	}
	began := time.Now()
	for quiet := began; ; time.Sleep(pollEvery / 2) {
		var open []string
		waits := false
		for _, p := range plays {
			sc.strike(s, p)
			if err := p.end(); err != nil {
				open = append(open, fmt.Sprintf("%s (%s): %v", p.cue, p.Name, err))
			}
			waits = waits || p.cue.Harm != cue.None && !p.struck
		}
		if len(open) > 0 {
			quiet = time.Now()
		}
		if len(open) == 0 && (!waits || time.Since(quiet) > lateBy) {
			break
		}
		if time.Since(began) > playLimit || s.ctx.Err() != nil {
			s.t.Fatalf("not over after %s:\n%s", playLimit, strings.Join(open, "\n"))
		}
	}
	for _, p := range plays {
		sc.disarm(s, p)
	}
	s.took("all ended", began)
}

// end returns an error until the deed is done or undone, and the actions of the server say so. Who is struck after that has not ended.
func (p *play) end() error {
	if !p.replied {
		select {
		case err := <-p.asked:
			p.must(err)
			p.replied = true
		default:
			return errors.New("there is no answer")
		}
	}
	if p.ended {
		return nil
	}
	var one struct{ Server server }
	if err := p.getAny(p.ctx, "/compute/v2.1/servers/"+p.ID, &one); err != nil {
		return err
	}
	v := one.Server
	if v.TaskState != "" || v.Status != p.deed.done && v.Status != p.deed.undone {
		return fmt.Errorf("it is %s (%s) on %s: %s %s", v.Status, v.TaskState, v.Host, v.Fault.Message, v.Fault.Details)
	}
	request, failure, err := p.newestAction()
	if err != nil || request == p.newest {
		return errors.Join(err, errors.New("its actions do not say how it ended"))
	}
	p.server, p.failure, p.ended = v, failure, true
	return nil
}

// newestAction gives the request of the newest action of the deed's kind, and how it failed; an error: that it is under way.
func (p *play) newestAction() (request, failure string, err error) {
	path := "/compute/v2.1/servers/" + p.ID + "/os-instance-actions"
	var list struct {
		InstanceActions []struct {
			Action    string
			RequestID string `json:"request_id"`
		}
	}
	if err := p.getAny(p.ctx, path, &list); err != nil {
		return "", "", err
	}
	for _, a := range list.InstanceActions { // the newest comes first
		if a.Action == p.deed.record {
			request = a.RequestID
			break
		}
	}
	if request == "" {
		return "", "", nil
	}
	var one struct {
		InstanceAction struct {
			Message *string
			Events  []struct {
				Event  string
				Result *string
				Finish *string `json:"finish_time"`
			}
		}
	}
	if err := p.getAny(p.ctx, path+"/"+request, &one); err != nil {
		return "", "", err
	}
	for _, e := range one.InstanceAction.Events {
		switch {
		case e.Result == nil || e.Finish == nil:
			return request, "", fmt.Errorf("the event %s is not finished", e.Event)
		case *e.Result != "Success" && failure == "":
			failure = e.Event + ": " + *e.Result
		}
	}
	if len(one.InstanceAction.Events) == 0 {
		return request, "", errors.New("the action has no events")
	}
	if m := one.InstanceAction.Message; m != nil {
		failure = *m
	}
	return request, failure, nil
}

// heard gives the places that a play was come by at, without harm.
func (sc *scene) heard(s *stage, p *play) []cue.Cue {
	s.t.Helper()
	counts := map[cue.Cue]int{}
	for _, n := range s.Nodes {
		text, err := os.ReadFile(sc.trace(n.Name()))
		s.must(err)
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) < 2 || !slices.Contains(words[1:], p.ID) {
				continue
			}
			c := cue.Cue{Deed: p.deed.name, Point: words[0], Side: cue.Away}
			switch {
			case strings.HasPrefix(c.Point, cue.BehindCommits):
				c.Side = cue.Either
			case n.Name() == p.home:
				c.Side = cue.Home
			}
			counts[c]++
		}
	}
	return cue.Heard(counts)
}
