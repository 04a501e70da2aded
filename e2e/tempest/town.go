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
	readyTimeout = 180 * time.Second
	readyPoll    = 100 * time.Millisecond
	stopTimeout  = 15 * time.Second
)

// physicalNetwork is the provider network of every node; there is just one, so that projects can make networks without
// naming it, as Tempest does.
const physicalNetwork = "lan"

// town is a cluster of processes on this machine, with simulated hypervisors.
type town struct {
	dir    string
	binary string
	peers  []*peer
}

// peer is a node of the town.
type peer struct {
	name, addr, dir string

	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

var joinToken = regexp.MustCompile(`\bkn1\S+`)

// newTown makes a cluster below dir and waits until all its nodes take instances. loopback is the nodes' addresses without
// the last number.
func newTown(ctx context.Context, binary, dir, loopback string) (_ *town, err error) {
	t := &town{dir: dir, binary: binary}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.lastWords(), t.close())
		}
	}()
	for i := range townSize {
		name := "sim" + strconv.Itoa(i+1)
		t.peers = append(t.peers, &peer{name: name, addr: loopback + "." + strconv.Itoa(i+1), dir: filepath.Join(dir, name)})
	}
	if err := t.start(t.first(), "init"); err != nil {
		return nil, err
	}
	if err := t.waitFor(ctx, 1); err != nil {
		return nil, err
	}
	for _, p := range t.peers[1:] {
		token, err := t.kilonova(ctx, "token", "create")
		if err != nil {
			return nil, fmt.Errorf("make a join token: %w", err)
		}
		if err := t.start(p, "join", t.first().addr, "--token", joinToken.FindString(token)); err != nil {
			return nil, err
		}
	}
	return t, t.waitFor(ctx, townSize)
}

func (t *town) first() *peer { return t.peers[0] }

// cloudsFile is the clouds.yaml of the first node.
func (t *town) cloudsFile() string { return filepath.Join(t.first().dir, "clouds.yaml") }

// kilonova runs "kilonova node ..." at the first node.
func (t *town) kilonova(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, t.binary, append(append([]string{"node"}, args...), "--data-dir", t.first().dir)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("kilonova node %s: %w: %s", args[0], err, bytes.TrimSpace(said.Bytes()))
	}
	return string(out), err
}

// sharedDir is the directory that all nodes have for volumes: a test's volume is wanted wherever its servers are.
func (t *town) sharedDir() string { return filepath.Join(t.dir, "shared") }

// start runs a node in the background: "init" or "join", with what follows.
func (t *town) start(p *peer, verb string, args ...string) error {
	for _, dir := range []string{p.dir, t.sharedDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(p.dir+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(t.binary, append([]string{"node", verb}, append(args, "--bind", p.addr, "--name", p.name,
		"--data-dir", p.dir, "--config", os.DevNull, "--driver", "sim", "--sim-boot-delay", "50ms",
		"--bridge", physicalNetwork+"=br0,open", "--shared-dir", t.sharedDir(), "--log-level", "warn")...)...)
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

// waitFor waits until so many nodes take instances.
func (t *town) waitFor(ctx context.Context, nodes int) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		out, err := t.kilonova(ctx, "list")
		if err == nil && strings.Count(out, " enabled ") >= nodes {
			return nil
		}
		for _, p := range t.peers {
			select {
			case <-p.ended():
				return fmt.Errorf("%s ended: %w", p.name, p.err)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d nodes: %w", nodes, errors.Join(ctx.Err(), err))
		case <-time.After(readyPoll):
		}
	}
}

// ended is closed when the node has ended; nil before it was started.
func (p *peer) ended() <-chan struct{} { return p.done }

// lastWords are the ends of the nodes' logs.
func (t *town) lastWords() error {
	const lines = 10
	var words strings.Builder
	for _, p := range t.peers {
		log, err := os.ReadFile(p.dir + ".log")
		if err != nil {
			continue
		}
		all := strings.Split(strings.TrimSpace(string(log)), "\n")
		for _, l := range all[max(0, len(all)-lines):] {
			fmt.Fprintf(&words, "\n  %s: %s", p.name, l)
		}
	}
	return fmt.Errorf("the ends of the nodes' logs:%s", words.String())
}

// close ends the nodes, as systemd would. One that has ended before is an error: what Tempest saw then says nothing.
func (t *town) close() error {
	var failed error
	for _, p := range t.peers {
		select {
		case <-p.ended():
			failed = errors.Join(failed, fmt.Errorf("%s ended before it was told to: %v", p.name, p.cmd.ProcessState))
			continue
		default:
		}
		if p.done == nil {
			continue
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			failed = errors.Join(failed, err)
		}
	}
	for _, p := range t.peers {
		if p.done == nil {
			continue
		}
		select {
		case <-p.done:
		case <-time.After(stopTimeout):
			failed = errors.Join(failed, fmt.Errorf("%s did not end within %v", p.name, stopTimeout), p.cmd.Process.Kill())
			<-p.done
		}
	}
	return failed
}
