package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/lab"
)

// apiPort is the port of the API on a node's address.
const apiPort = "8774"

// Node is one member of the cluster: a host, its libvirtd and its kilonova daemon.
type Node struct {
	Host    *lab.Host
	Daemon  *lab.Process // nil before the first start
	Libvirt *lab.Process
	Flags   []string // more flags of this node's "init", "join" and "run", after those of all
	Env     []string // more of the daemon's environment ("K=V"), from its next start on
	Witness bool     // it votes, and has no guests

	cloud *Cloud
	url   string // in place of the host's; for tests of this package
}

// URL is the node's API without a path.
func (n *Node) URL() string {
	if n.url != "" {
		return n.url
	}
	return "https://" + net.JoinHostPort(n.Host.Address(), apiPort)
}

// Name is the host's name, which the cluster knows the node by.
func (n *Node) Name() string { return n.Host.Name }

// flags are the settings of a node of this lab; "node run" knows the rest from its data directory.
func (n *Node) flags() []string {
	own := []string{"--data-dir", n.Host.DataDir(), "--driver", n.cloud.opts.Driver, "--virt-type", "qemu"}
	if n.Witness {
		own = append(own, "--witness")
	} else {
		own = append(own, "--bridge", ProviderNetwork+"="+n.Host.Bridge())
	}
	return slices.Concat(own, n.cloud.opts.Flags, n.Flags)
}

func (n *Node) initArgs() []string {
	return append([]string{"node", "init", "--bind", n.Host.Address()}, n.flags()...)
}

func (n *Node) joinArgs(via *Node) []string {
	peer := net.JoinHostPort(via.Host.Address(), "7443")
	return append([]string{"node", "join", peer, "--bind", n.Host.Address()}, n.flags()...)
}

// joinEnv hands over the token where it is not seen by every process, nor in an error about the command.
func joinEnv(token string) []string { return []string{"KILONOVA_TOKEN=" + token} }

// StartLibvirt starts the host's libvirtd and waits until it answers.
func (n *Node) StartLibvirt(ctx context.Context) (err error) {
	n.Libvirt, err = n.Host.StartLibvirt(ctx)
	return err
}

// Start starts the daemon of an enrolled node and waits until its API answers.
func (n *Node) Start(ctx context.Context) error {
	if err := n.StartDaemon(); err != nil {
		return err
	}
	return n.WaitReady(ctx)
}

// StartDaemon starts the daemon of an enrolled node, as systemd would, and does not wait.
func (n *Node) StartDaemon() error {
	return n.start(append([]string{"node", "run", "--bind", n.Host.Address()}, n.flags()...))
}

// StartJoin starts a daemon that joins through another node with a token, and does not wait.
func (n *Node) StartJoin(via *Node, token string) error {
	return n.start(n.joinArgs(via), joinEnv(token)...)
}

// Enrol runs "node join" through another node as far as the data directory, without running the node, and returns what
// it said. The error is that of its exit status.
func (n *Node) Enrol(ctx context.Context, via *Node, token string) (string, error) {
	return n.enrolOnly(ctx, joinEnv(token), n.joinArgs(via))
}

// Init makes a cluster of its own on the node's host, without running it.
func (n *Node) Init(ctx context.Context) (string, error) { return n.enrolOnly(ctx, nil, n.initArgs()) }

func (n *Node) enrolOnly(ctx context.Context, env, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, n.cloud.opts.Binary, append(args, "--enrol-only")...)
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := n.Host.StartCommand(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return said.String(), fmt.Errorf("run kilonova %s %s on %s: %w", args[0], args[1], n.Name(), err)
	}
	return said.String(), nil
}

func (n *Node) start(args []string, env ...string) (err error) {
	n.Daemon, err = n.Host.Start("kilonova", slices.Concat(n.Env, env), append([]string{n.cloud.opts.Binary}, args...)...)
	return err
}

// PowerOn gives a host whose power was cut its power, its libvirtd and its daemon back, and does not wait for
// the API: without a majority it cannot answer.
func (n *Node) PowerOn(ctx context.Context) error {
	if err := n.Host.PowerOn(); err != nil {
		return err
	}
	if n.cloud.opts.Driver == driverLibvirt {
		if err := n.StartLibvirt(ctx); err != nil {
			return err
		}
	}
	return n.StartDaemon()
}

// Kilonova runs the kilonova program on the node's host and returns its output.
func (n *Node) Kilonova(ctx context.Context, args ...string) (string, error) {
	argv := append([]string{n.cloud.opts.Binary}, args...)
	return n.Host.Run(ctx, append(argv, "--data-dir", n.Host.DataDir())...)
}

// WaitReady waits until the node's API answers a request that needs the cluster to agree.
func (n *Node) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		_, answer := n.cloud.Members(ctx, n)
		if answer == nil {
			return nil
		}
		if err := n.pause(ctx); err != nil {
			return fmt.Errorf("wait for %s: %w (%w)%s", n.Name(), err, answer, n.lastWords())
		}
	}
}

// waitForClouds waits until "node init" wrote clouds.yaml.
func (n *Node) waitForClouds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	path, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "clouds.yaml"))
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if err := n.pause(ctx); err != nil {
			return fmt.Errorf("wait for clouds.yaml of %s: %w%s", n.Name(), err, n.lastWords())
		}
	}
}

// pause waits a moment, or returns why waiting is of no use.
func (n *Node) pause(ctx context.Context) error {
	select {
	case <-n.Daemon.Done():
		return fmt.Errorf("its daemon ended: %w", errors.Join(n.Daemon.Wait(ctx), errEnded))
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(readyPoll):
		return nil
	}
}

var errEnded = errors.New("a daemon should not end by itself")

// lastWords returns the end of the daemon's log, for an error.
func (n *Node) lastWords() string {
	const lines = 20
	log, err := n.Daemon.Log()
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(log), "\n")
	return "\nthe end of its log:\n  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}
