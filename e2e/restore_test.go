package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// A backup is made while users create servers, and another cluster is made of it on other machines. It knows whatever was acknowledged before the backup
// began, and nothing that nobody asked for. It starts nothing until an operator says that the former cluster is gone. That one still lives, as it
// happens: neither lets the other's machines in, by whatever they show, and the directory that they both have is at every moment one's.
func TestRestore_OnOtherMachinesWhileTheFormerClusterLives(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 2, "--shared-dir", t.TempDir())
	p := s.supply(s.Nodes[0])
	volume := s.sharedVolume(s.Nodes[0])
	work := s.load(p)
	s.eventually("some servers are promised", memberLimit, func() error {
		if n := len(work.acknowledged()); n < 10 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	sure := work.acknowledged()
	file := filepath.Join(t.TempDir(), "cloud.backup")
	s.kilonova(s.Nodes[1], "cluster", "backup", file)
	s.must(work.end())

	fresh, err := s.AddNode(s.ctx)
	s.must(err)
	fresh.Flags = []string{"--restore", file}
	out, err := fresh.Init(s.ctx)
	if err != nil || !strings.Contains(out, "No instance is placed before you say") {
		t.Fatalf("restore: %v: %s", err, out)
	}
	fresh.Flags = nil
	apart, err := s.Apart(fresh)
	s.must(err)
	t.Cleanup(func() { s.must(apart.Close()) })
	o := &stage{Cloud: apart, t: t, ctx: s.ctx}
	s.must(fresh.Start(s.ctx))

	s.run("it knows what was acknowledged, and runs none of it", func(s *stage) { o.on(s.t).remembers(fresh, sure, work.acknowledged()) })
	s.run("nothing new is placed before an operator's word", func(s *stage) { o.on(s.t).isHeld(fresh, p) })
	s.run("then the shared volumes are its own", func(s *stage) {
		o.on(s.t).grows(fresh, volume)
		s.eventually("the former cluster notices", memberLimit, func() error { return s.isTold(s.Nodes[0], "belongs to cluster") })
	})
	s.run("the two are strangers", func(s *stage) {
		if answer, err := s.askPeerPort(fresh, s.with(s.Nodes[0], "peer.pem", alpnHTTP)); err == nil || answer != "" {
			s.t.Errorf("a node of the former cluster is answered: %q", answer)
		}
		stranger := s.host()
		token, err := s.Token(s.ctx)
		s.must(err)
		if out, err := stranger.Enrol(s.ctx, fresh, token); err == nil || !strings.Contains(out, "another") {
			s.t.Errorf("a token of the former cluster: %q, %v", out, err)
		}
		for of, want := range map[*stage]int{s: 2, o: 1} {
			if members, err := of.Members(s.ctx, of.Nodes[0]); err != nil || len(members) != want {
				s.t.Errorf("the members are %+v, %v", members, err)
			}
		}
	})
}

// remembers checks a restored node's list of servers.
func (s *stage) remembers(n *cloud.Node, sure, asked map[string]string) {
	s.t.Helper()
	all, err := s.servers(n)
	s.must(err)
	seen := map[string]bool{}
	for _, v := range all {
		seen[v.ID] = true
		if v.Host != "" || v.Status == "ACTIVE" {
			s.t.Errorf("server %s is %s on %q", v.Name, v.Status, v.Host)
		}
		if !strings.HasPrefix(v.Name, loadName) || asked[v.ID] != "" && asked[v.ID] != v.Name {
			s.t.Errorf("server %s is called %q", v.ID, v.Name)
		}
	}
	for id, name := range sure {
		if !seen[id] {
			s.t.Errorf("server %s (%s) was acknowledged before the backup, and is lost", id, name)
		}
	}
}

// isHeld creates a server in a restored cluster: it gets its place with the operator's word, and not before.
func (s *stage) isHeld(n *cloud.Node, p supplies) {
	s.t.Helper()
	p.image = s.newImage(n, "anew")
	s.must(s.upload(n, p.image, []byte(strings.Repeat("kilonova", 1024))))
	s.must(s.WaitEnabled(s.ctx))
	id := s.create(n, p.createRequest("after the disaster"))
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(pollEvery) {
		v, err := s.show(n, id)
		s.must(err)
		if v.Host != "" {
			s.t.Fatalf("it was placed on %s before an operator confirmed the restore", v.Host)
		}
	}
	s.must(s.isTold(n, "belongs to cluster"))
	s.kilonova(n, "cluster", "confirm-restore", "--yes")
	s.waitStatus(n, id, "ACTIVE", memberLimit)
	if _, err := n.Kilonova(s.ctx, "cluster", "confirm-restore", "--yes"); err == nil || !strings.Contains(err.Error(), "confirmed already") {
		s.t.Errorf("confirmed twice: %v", err)
	}
}

// sharedVolume makes a volume in the directory that nodes have in common.
func (s *stage) sharedVolume(via *cloud.Node) string {
	s.t.Helper()
	var made struct{ Volume struct{ ID string } }
	s.eventually("a node has the shared directory", memberLimit, func() error {
		return s.Do(s.ctx, via, cloud.Request{Method: http.MethodPost, Path: "/volume/v3/volumes",
			Body: map[string]any{"volume": map[string]any{"size": 1, "volume_type": "shared"}}}, &made, http.StatusAccepted)
	})
	s.volumeBecomes(made.Volume.ID, "available")
	return made.Volume.ID
}

// grows extends a volume, which somebody has to do who has its file.
func (s *stage) grows(via *cloud.Node, id string) {
	s.t.Helper()
	path := "/volume/v3/volumes/" + id
	s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPost, Path: path + "/action", Body: map[string]any{"os-extend": map[string]any{"new_size": 2}},
		Header: map[string]string{"OpenStack-API-Version": "volume 3.42"}}, nil, http.StatusAccepted))
	s.eventually("the volume has grown", memberLimit, func() error {
		var got struct {
			Volume struct {
				Status string
				Size   int
			}
		}
		err := s.Get(s.ctx, via, path, &got)
		if err == nil && (got.Volume.Size != 2 || got.Volume.Status != "available") {
			err = fmt.Errorf("it is %+v", got.Volume)
		}
		return err
	})
}

// isTold returns an error unless a node says what is wrong with it in such words.
func (s *stage) isTold(n *cloud.Node, words string) error {
	out, err := n.Kilonova(s.ctx, "node", "show", n.Name())
	if err == nil && !strings.Contains(out, words) {
		err = fmt.Errorf("%s shows: %s", n.Name(), out)
	}
	return err
}

// loadName begins the names of servers that are made by load.
const loadName = "load-"

// load creates servers through every node at once, until end.
type load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	names map[string]string // by ID
	err   error
}

func (s *stage) load(p supplies) *load {
	w := &load{stop: make(chan struct{}), names: map[string]string{}}
	for i, n := range s.Nodes {
		w.done.Go(func() { w.create(s, n, p, i) })
	}
	s.t.Cleanup(func() { _ = w.end() })
	return w
}

func (w *load) create(s *stage, via *cloud.Node, p supplies, lane int) {
	for i := 0; ; i++ {
		select {
		case <-w.stop:
			return
		default:
		}
		var made struct{ Server struct{ ID string } }
		name := fmt.Sprintf("%s%d-%03d", loadName, lane, i)
		r := p.createRequest(name)
		r.Header = map[string]string{"Idempotency-Key": name}
		err := s.Do(s.ctx, via, r, &made, http.StatusAccepted)
		w.mu.Lock()
		if err == nil {
			w.names[made.Server.ID] = name
		} else {
			w.err = err
		}
		w.mu.Unlock()
	}
}

// acknowledged gives the servers that were promised so far.
func (w *load) acknowledged() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.names)
}

// end stops the load. It may be called twice.
func (w *load) end() error {
	w.mu.Lock()
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.mu.Unlock()
	w.done.Wait()
	return w.err
}
