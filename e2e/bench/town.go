package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	townSize     = 3
	readyTimeout = time.Minute
	readyPoll    = 20 * time.Millisecond
	stopTimeout  = 15 * time.Second
)

// town is a cluster of processes on this machine, with the simulated hypervisor.
type town struct {
	dir    string
	binary string
	peers  []*peer
	admin  *client // logs in at the first node
	scene  *scene  // what servers need; made when it is first needed
}

// peer is a node of the town.
type peer struct {
	name string
	addr string
	dir  string

	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

func (p *peer) url() string { return "https://" + p.addr + ":8774" }

var joinToken = regexp.MustCompile(`\bkn1\S+`)

// newTown makes a cluster and waits until every node has a vote and takes instances.
func newTown(ctx context.Context, o options) (_ *town, err error) {
	dir, err := os.MkdirTemp(o.dir, "kilonova-bench-")
	if err != nil {
		return nil, err
	}
	t := &town{dir: dir, binary: o.binary}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.lastWords())
			t.close()
		}
	}()
	for i := range townSize {
		name := "bench" + strconv.Itoa(i+1)
		t.peers = append(t.peers, &peer{name: name, addr: o.loopback + "." + strconv.Itoa(i+1), dir: filepath.Join(dir, name)})
	}
	first := t.peers[0]
	if err := t.start(first, "init"); err != nil {
		return nil, err
	}
	if err := t.logIn(ctx); err != nil {
		return nil, err
	}
	for _, p := range t.peers[1:] {
		out, err := exec.CommandContext(ctx, t.binary, "node", "token", "create", "--data-dir", first.dir).Output()
		if err != nil {
			return nil, fmt.Errorf("make a join token: %w", err)
		}
		if err := t.start(p, "join", first.addr, "--token", string(joinToken.Find(out))); err != nil {
			return nil, err
		}
	}
	return t, t.waitComplete(ctx)
}

// start runs a node in the background: "init", "join" or "run", with what follows.
func (t *town) start(p *peer, verb string, args ...string) error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(p.dir+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(t.binary, append([]string{"node", verb}, append(args,
		"--bind", p.addr, "--name", p.name, "--data-dir", p.dir, "--config", os.DevNull, "--driver", "sim", "--bridge", "lan=br0",
		"--sim-vcpus", "100000", "--sim-memory-mib", "100000000", "--sim-disk-gib", "10000000", "--log-level", "warn")...)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // Ctrl-C is for this program alone
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.done = make(chan struct{})
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return nil
}

// stop ends a node as systemd would.
func (p *peer) stop() error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
	}
	err := p.cmd.Process.Kill()
	<-p.done
	return errors.Join(fmt.Errorf("%s did not end within %v", p.name, stopTimeout), err)
}

func (p *peer) pid() int { return p.cmd.Process.Pid }

func (t *town) pids() []int {
	var out []int
	for _, p := range t.peers {
		out = append(out, p.pid())
	}
	return out
}

func (t *town) urls() []string {
	var out []string
	for _, p := range t.peers {
		out = append(out, p.url())
	}
	return out
}

// logIn waits for the first node and its credentials.
func (t *town) logIn(ctx context.Context) error {
	first := t.peers[0]
	return poll(ctx, first, func() error {
		clouds, err := os.ReadFile(filepath.Join(first.dir, "clouds.yaml"))
		if err != nil {
			return err
		}
		t.admin, err = newClient(clouds, first.url())
		if err != nil {
			return err
		}
		return t.admin.logIn(ctx, "")
	})
}

// member is a node as the cluster lists it.
type member struct {
	Name   string `json:"name"`
	Raft   string `json:"raft"`
	Status string `json:"status"`
}

func (t *town) members(ctx context.Context) ([]member, error) {
	var answer struct {
		Nodes []member `json:"nodes"`
	}
	err := t.admin.get(ctx, "/cluster/v1/nodes", &answer)
	return answer.Nodes, err
}

// waitComplete waits until every node votes and takes instances.
func (t *town) waitComplete(ctx context.Context) error {
	return poll(ctx, t.peers[0], func() error {
		members, err := t.members(ctx)
		if err != nil {
			return err
		}
		ready := 0
		for _, m := range members {
			if (m.Raft == "leader" || m.Raft == "voter") && m.Status == "enabled" {
				ready++
			}
		}
		if ready < townSize {
			return fmt.Errorf("%d of %d nodes vote and take instances: %v", ready, townSize, members)
		}
		return nil
	})
}

// leader finds the node that leads.
func (t *town) leader(ctx context.Context) (*peer, error) {
	members, err := t.members(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		for _, p := range t.peers {
			if m.Raft == "leader" && m.Name == p.name {
				return p, nil
			}
		}
	}
	return nil, errors.New("no node leads")
}

// follower finds a node that does not lead and is not the first, where the administrator is logged in.
func (t *town) follower(ctx context.Context) (*peer, error) {
	leader, err := t.leader(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range t.peers[1:] {
		if p != leader {
			return p, nil
		}
	}
	return nil, errors.New("every node leads")
}

// poll tries until it works, or the node ends, or it takes too long.
func poll(ctx context.Context, p *peer, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w", p.name, errors.Join(p.err, err))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.name, errors.Join(ctx.Err(), err))
		case <-time.After(readyPoll):
		}
	}
}

// lastWords are the ends of the nodes' logs.
func (t *town) lastWords() error {
	var words strings.Builder
	for _, p := range t.peers {
		log, err := os.ReadFile(p.dir + ".log")
		if err != nil {
			continue
		}
		lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
		for _, l := range lines[max(0, len(lines)-5):] {
			fmt.Fprintf(&words, "\n  %s: %s", p.name, l)
		}
	}
	if words.Len() == 0 {
		return nil
	}
	return fmt.Errorf("the ends of the nodes' logs:%s", words.String())
}

// close ends the nodes and removes what they kept.
func (t *town) close() {
	if t.admin != nil {
		t.admin.close()
	}
	for _, p := range t.peers {
		if err := p.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	if err := os.RemoveAll(t.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}
