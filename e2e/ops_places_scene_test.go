package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/cue"
	"github.com/kilonova/kilonova/node/failpoint"
)

const (
	askLimit = 2 * time.Minute // for an answer of whichever node knows one
	lateBy   = 2500 * time.Millisecond
)

// scene is a cluster whose nodes stand still at any place when they are told to, and the guests that live there.
type scene struct {
	dir   string // of the files that say what happens where, one for each node
	armed map[string]map[string]string
	lives []*life
	grown map[string]bool // guests that have the other one of the two flavors

	image, project string
	flavors        [2]string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	needHosts(t)
	return &scene{dir: t.TempDir(), armed: map[string]map[string]string{}, grown: map[string]bool{}}
}

// env is what a node's daemon is started with: its own file of failpoints, which says nothing yet.
func (sc *scene) env(node string) []string {
	sc.armed[node] = map[string]string{}
	if err := os.WriteFile(sc.points(node), nil, 0o600); err != nil {
		panic(err) // the daemon would say so, and nobody would know why it was not there
	}
	return []string{failpoint.Variable + "=@" + sc.points(node)}
}

func (sc *scene) points(node string) string { return filepath.Join(sc.dir, node+".points") }
func (sc *scene) trace(node string) string  { return filepath.Join(sc.dir, node+".trace") }

// say tells a node what happens where: as it is armed, and also whatever more is.
func (sc *scene) say(s *stage, node string, more ...string) {
	s.t.Helper()
	lines := more
	for place, action := range sc.armed[node] {
		lines = append(lines, place+"="+action)
	}
	slices.Sort(lines)
	setPoints(s.t, sc.points(node), strings.Join(lines, "\n"))
}

// furnish makes what servers need, and the guests: two on each node.
func (sc *scene) furnish(s *stage) {
	s.furnishOps(buildSmall(s.t))
	s.must(s.Do(s.ctx, s.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/flavors", Body: map[string]any{
		"flavor": map[string]any{"name": opsAsSmall, "ram": 136, "vcpus": 1, "disk": 1},
	}}, nil, http.StatusOK))
	var found struct{ Projects []struct{ ID string } }
	s.must(s.Get(s.ctx, s.Nodes[0], "/identity/v3/projects?name=admin", &found))
	sc.project, sc.image = found.Projects[0].ID, s.imageID(opsImage)
	sc.flavors = [2]string{s.flavor(opsSmall), s.flavor(opsAsSmall)}
	one := s.plainServer("player")
	one["min_count"], one["max_count"] = castSize, castSize
	s.must(s.Do(s.ctx, s.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": one}},
		nil, http.StatusAccepted))
	all, err := s.servers(s.Nodes[0])
	s.must(err)
	for _, v := range all {
		sc.lives = append(sc.lives, &life{stage: s, server: s.settled(v.ID), via: s.Nodes[0]})
	}
	for i, l := range sc.lives {
		if l.Status != "ACTIVE" {
			s.t.Fatalf("%s is %s: %s", l.Name, l.Status, l.Fault.Message)
		}
		sc.lives[i] = s.meet(s.Nodes[0], l.server)
	}
}

// askAny asks one node after the other until one knows the answer, under one key. What may have been done is asked for again.
func (s *stage) askAny(ctx context.Context, r cloud.Request) (a cloud.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r.Header = map[string]string{"OpenStack-API-Version": "compute 2.90, volume 3.59"}
	if r.Method != "" {
		r.Header["Idempotency-Key"] = rand.Text()
	}
	for i := 0; ; i++ {
		a, err = s.Ask(ctx, s.Nodes[i%len(s.Nodes)], r)
		if err == nil && !comeAgain(a) {
			return a, nil
		}
		select {
		case <-ctx.Done():
			return a, errors.Join(ctx.Err(), err, a.Want(http.StatusOK))
		case <-time.After(pollEvery / 2):
		}
	}
}

// comeAgain tells whether an answer leaves open what was done, or is that of a cluster whose node for a guest died a moment ago.
func comeAgain(a cloud.Answer) bool {
	switch a.Status {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusBadGateway, http.StatusUnauthorized:
		return true
	case http.StatusConflict:
		return strings.Contains(string(a.Body), "Service is unavailable at this time")
	}
	return false
}

// getAny reads something from whichever node knows.
func (s *stage) getAny(ctx context.Context, path string, into any) error {
	a, err := s.askAny(ctx, cloud.Request{Path: path})
	if err == nil {
		err = a.Want(http.StatusOK)
	}
	if err != nil {
		return err
	}
	return a.Into(into)
}

// arm makes the nodes on the side of a play's cue stand still at its place.
func (sc *scene) arm(s *stage, p *play) {
	s.t.Helper()
	if p.cue.Harm == cue.None {
		return
	}
	for _, n := range s.Nodes {
		if p.cue.Side != cue.Either && (p.cue.Side == cue.Home) != (n.Name() == p.home) {
			continue
		}
		p.marks[n] = filepath.Join(sc.dir, n.Name()+"-"+p.ID)
		sc.armed[n.Name()][p.place()] = fmt.Sprintf("%d*wait:%s", p.cue.Hit, p.marks[n])
		sc.say(s, n.Name())
	}
}

// place is the name of a play's failpoint.
func (p *play) place() string { return p.cue.Point + "@" + p.ID }

// disarm lets nobody stand still for a play any more, and lets go on whoever does.
func (sc *scene) disarm(s *stage, p *play) {
	s.t.Helper()
	for n, mark := range p.marks {
		delete(sc.armed[n.Name()], p.place())
		sc.say(s, n.Name())
		if err := os.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Error(err)
		}
	}
	clear(p.marks)
}

// held is the node that stands still for a play; nil: none does.
func (p *play) held() *cloud.Node {
	for n, mark := range p.marks {
		if _, err := os.Lstat(mark); err == nil {
			return n
		}
	}
	return nil
}

// strike does the harm of a play as soon as a node stands still for it, and lets everything go on.
func (sc *scene) strike(s *stage, p *play) {
	s.t.Helper()
	at := p.held()
	if at == nil {
		return
	}
	s.t.Logf("%s: %s, on %s", p.Name, p.cue, at.Name())
	p.struck, p.ended = true, false
	switch p.cue.Harm {
	case daemon:
		s.must(at.Daemon.Kill())
		sc.disarm(s, p)
		s.must(at.StartDaemon())
	case libvirtd:
		s.must(at.Libvirt.Kill())
		sc.disarm(s, p)
		s.eventually("libvirtd runs again", activeLimit, func() error { return at.StartLibvirt(s.ctx) })
	case cue.Leader:
		leads := s.leader()
		s.must(leads.Daemon.Kill())
		sc.disarm(s, p) // whoever waits may have been the leader
		s.eventually("another node leads", activeLimit, func() error {
			now, err := s.Leader(s.ctx)
			if err == nil && now == leads {
				err = errors.New("the dead one does")
			}
			return err
		})
		s.must(leads.StartDaemon())
	}
}
