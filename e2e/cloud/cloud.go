package cloud

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	// readyTimeout bounds the wait for a node to answer its API after its daemon was started.
	readyTimeout = 180 * time.Second
	readyPoll    = 100 * time.Millisecond
	// ProviderNetwork is the label by which every node offers its bridge to the guest network.
	ProviderNetwork = "lan"

	driverLibvirt = "libvirt"
)

// Options say what to bring up.
type Options struct {
	Binary  string // path of the kilonova program
	Nodes   int
	Driver  string   // of the hypervisors, "libvirt" or "sim"; "": libvirt. Hosts of a simulated one have no libvirtd
	Flags   []string // more flags for "node init", "join" and "run"
	DiskMiB int      // size of each host's disk; 0: the lab's default

	// Env, if set, gives more of the environment ("K=V") of a node's daemon.
	Env func(node string) []string

	// Step, if set, is called with each long step and must call it once: it may show what goes on.
	Step func(what string, do func() error) error
}

// Cloud is a running cluster.
type Cloud struct {
	Lab   *lab.Lab
	Nodes []*Node

	opts    Options
	clouds  string // clouds.yaml for clients on the machine
	apart   string // begins the names of its files; "" for the cluster that the lab was made for
	clients *clients
}

// joinToken is what "node token create" prints somewhere in its output.
var joinToken = regexp.MustCompile(`\bkn1\S+`)

// Up makes hosts and a cluster on them. On error it has removed everything again.
func Up(ctx context.Context, opts Options) (_ *Cloud, err error) {
	if opts.Step == nil {
		opts.Step = func(_ string, do func() error) error { return do() }
	}
	if opts.Driver == "" {
		opts.Driver = driverLibvirt
	}
	if opts.Binary, err = filepath.Abs(opts.Binary); err != nil {
		return nil, fmt.Errorf("find kilonova: %w", err)
	}
	if _, err := os.Stat(opts.Binary); err != nil {
		return nil, fmt.Errorf("find kilonova: %w", err)
	}
	c := &Cloud{opts: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, s := range []struct {
		what string
		do   func(context.Context) error
	}{
		{c.hostsStep(), c.makeHosts},
		{"node1: kilonova node init", c.initFirst},
		{"the other nodes: kilonova node join", c.joinOthers},
		{"every node finds its libvirt and takes guests", c.WaitEnabled},
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := opts.Step(s.what, func() error { return s.do(ctx) }); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cloud) hostsStep() string {
	if c.opts.Driver == driverLibvirt {
		return fmt.Sprintf("making %d hosts, each with its own libvirtd", c.opts.Nodes)
	}
	return fmt.Sprintf("making %d hosts", c.opts.Nodes)
}

func (c *Cloud) makeHosts(ctx context.Context) error {
	l, err := lab.New()
	if err != nil {
		return err
	}
	c.Lab = l
	for range c.opts.Nodes {
		if _, err := c.AddNode(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cloud) initFirst(ctx context.Context) error {
	first := c.Nodes[0]
	if err := first.start(first.initArgs()); err != nil {
		return err
	}
	if err := first.waitForClouds(ctx); err != nil {
		return err
	}
	if err := c.export(first); err != nil {
		return err
	}
	return first.WaitReady(ctx)
}

// joinOthers lets all others join at once, each with a token of its own, as a hasty operator would.
func (c *Cloud) joinOthers(ctx context.Context) error {
	var joins sync.WaitGroup
	errs := make([]error, len(c.Nodes))
	for i, n := range c.Nodes[1:] {
		joins.Go(func() { errs[i] = c.Join(ctx, n) })
	}
	joins.Wait()
	return errors.Join(errs...)
}

// Join lets a node whose host is on and whose libvirtd runs join the cluster, and waits until it answers.
func (c *Cloud) Join(ctx context.Context, n *Node) error {
	token, err := c.Token(ctx)
	if err != nil {
		return err
	}
	if err := n.StartJoin(c.Nodes[0], token); err != nil {
		return err
	}
	return n.WaitReady(ctx)
}

// AddNode makes one more host, with a libvirtd where the hypervisors are libvirt's. It is not part of the cluster until
// Join.
func (c *Cloud) AddNode(ctx context.Context) (*Node, error) {
	n, err := c.AddHost(lab.HostOptions{DiskMiB: c.opts.DiskMiB})
	if err != nil || c.opts.Driver != driverLibvirt {
		return n, err
	}
	return n, n.StartLibvirt(ctx)
}

// AddHost makes one more host of its own kind, on which nothing runs.
func (c *Cloud) AddHost(opts lab.HostOptions) (*Node, error) {
	h, err := c.Lab.AddHost(opts)
	if err != nil {
		return nil, err
	}
	n := &Node{Host: h, cloud: c}
	if c.opts.Env != nil {
		n.Env = c.opts.Env(h.Name)
	}
	c.Nodes = append(c.Nodes, n)
	return n, nil
}

// Apart gives the clients for another cluster in the same lab, of which first is the first node: it is enrolled, and so is no node of this one any more.
// Closing it ends the clients alone.
func (c *Cloud) Apart(first *Node) (*Cloud, error) {
	c.Nodes = slices.DeleteFunc(c.Nodes, func(n *Node) bool { return n == first })
	other := &Cloud{Lab: c.Lab, Nodes: []*Node{first}, opts: c.opts, apart: first.Name() + "-"}
	first.cloud = other
	return other, other.export(first)
}

// Token makes a join token on the first node. flags are more flags of "node token create".
func (c *Cloud) Token(ctx context.Context, flags ...string) (string, error) {
	out, err := c.Nodes[0].Kilonova(ctx, append([]string{"node", "token", "create"}, flags...)...)
	if err != nil {
		return "", err
	}
	token := joinToken.FindString(out)
	if token == "" {
		return "", errors.New("make join token: there is none in the output of kilonova node token create")
	}
	return token, nil
}

// CloudsFile is a clouds.yaml that works on the machine, outside the hosts.
func (c *Cloud) CloudsFile() string { return c.clouds }

// Close removes the cluster and its hosts. It may be called more than once.
func (c *Cloud) Close() error {
	if c.clients != nil {
		c.clients.close()
	}
	if c.Lab == nil || c.apart != "" {
		return nil
	}
	return c.Lab.Close()
}
