package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/consoleproxy"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
)

// How long the hypervisor, or the agent of a guest, may take to answer.
const (
	insideTimeout   = 10 * time.Second
	passwordTimeout = 30 * time.Second
)

// maxConsoles is how many consoles of this node's guests may be open at a time, for clients of all nodes.
const maxConsoles = consoleproxy.MaxSessions

// inside reaches into guests: here, or on the node that has them. It implements consoleproxy.Dialer and compute.Inside.
type inside struct {
	self   cluster.NodeID
	driver virt.Inside
	peers  *peer.Client
	log    *slog.Logger

	mu     sync.Mutex
	open   map[*openConsole]struct{} // of this node's guests
	closed bool
}

func newInside(self cluster.NodeID, driver virt.Inside, peers *peer.Client, log *slog.Logger) *inside {
	return &inside{self: self, driver: driver, peers: peers, log: log, open: map[*openConsole]struct{}{}}
}

// close ends the consoles of this node's guests that are open, wherever their clients are, and opens no more.
func (i *inside) close() {
	i.mu.Lock()
	i.closed = true
	var all []*openConsole
	for c := range i.open {
		all = append(all, c)
	}
	i.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// openConsole is a connection to a console that its inside knows of.
type openConsole struct {
	net.Conn
	of *inside
}

// Close may be called more than once.
func (c *openConsole) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// admit counts a connection among the open ones.
func (i *inside) admit(conn net.Conn) (net.Conn, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.closed:
		return nil, cluster.Errorf(cluster.Unavailable, "The node of the instance stops.")
	case len(i.open) >= maxConsoles:
		return nil, cluster.Errorf(cluster.Unavailable, "The node of the instance has as many consoles open as it serves: try again later.")
	}
	c := &openConsole{conn, i}
	i.open[c] = struct{}{}
	return c, nil
}

// hereInside serves peers and this node itself.
type hereInside struct{ *inside }

// consoleKinds are the drivers' words for the kinds of consoles.
var consoleKinds = map[cluster.ConsoleKind]virt.ConsoleKind{
	cluster.ConsoleNoVNC:  virt.ConsoleVNC,
	cluster.ConsoleSerial: virt.ConsoleSerial,
}

// Dial implements peer.Inside.
func (h hereInside) Dial(ctx context.Context, id cluster.InstanceID, kind cluster.ConsoleKind) (net.Conn, error) {
	word, ok := consoleKinds[kind]
	if !ok {
		return nil, cluster.Errorf(cluster.Invalid, "Unavailable console type %.40s.", string(kind))
	}
	ctx, cancel := context.WithTimeout(ctx, insideTimeout)
	defer cancel()
	conn, err := h.driver.Dial(ctx, id, word)
	if err != nil {
		if errors.Is(err, virt.ErrUnsupported) {
			return nil, cluster.Errorf(cluster.Invalid, "Unavailable console type %s.", kind)
		}
		return nil, h.refusal("open a console", id, err)
	}
	kept, err := h.admit(conn)
	if err != nil {
		conn.Close()
	}
	return kept, err
}

// Diagnostics implements peer.Inside.
func (h hereInside) Diagnostics(ctx context.Context, id cluster.InstanceID) (cluster.Diagnostics, error) {
	ctx, cancel := context.WithTimeout(ctx, insideTimeout)
	defer cancel()
	d, err := h.driver.Diagnostics(ctx, id)
	if err != nil {
		return cluster.Diagnostics{}, h.refusal("diagnose", id, err)
	}
	return d, nil
}

// SetPassword implements peer.Inside.
func (h hereInside) SetPassword(ctx context.Context, id cluster.InstanceID, user, password string) error {
	ctx, cancel := context.WithTimeout(ctx, passwordTimeout)
	defer cancel()
	return h.refusal("set a password", id, h.driver.SetPassword(ctx, id, user, password))
}

// Crash implements peer.Inside.
func (h hereInside) Crash(ctx context.Context, id cluster.InstanceID) error {
	ctx, cancel := context.WithTimeout(ctx, insideTimeout)
	defer cancel()
	return h.refusal("send an interrupt", id, h.driver.Crash(ctx, id))
}

// refusal gives the code of a driver's error; nil for nil. The details are for the log of the guest's node.
func (h hereInside) refusal(act string, id cluster.InstanceID, err error) error {
	var refusal *cluster.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
	case errors.Is(err, virt.ErrNotFound):
		refusal = cluster.Errorf(cluster.NotFound, "Instance %s is not on this node.", id)
	case errors.Is(err, virt.ErrNotRunning):
		refusal = cluster.Errorf(cluster.Conflict, "Instance %s is not running.", id)
	case errors.Is(err, virt.ErrUnsupported):
		refusal = cluster.Errorf(cluster.Unsupported, "The guest or its hypervisor cannot do it.")
	case errors.Is(err, virt.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		refusal = cluster.Errorf(cluster.Unavailable, "The hypervisor of instance %s does not answer.", id)
	default:
		refusal = cluster.Errorf(cluster.Internal, "The hypervisor of instance %s could not %s.", id, act)
	}
	h.log.Info("look into a guest", "act", act, "instance", id, "code", string(refusal.Code), "err", err)
	return refusal
}

// DialConsole implements consoleproxy.Dialer.
func (i *inside) DialConsole(ctx context.Context, in *cluster.Instance, kind cluster.ConsoleKind) (io.ReadWriteCloser, error) {
	if in.Node == i.self {
		conn, err := hereInside{i}.Dial(ctx, in.ID, kind)
		if err != nil {
			return nil, elsewhere(in, err)
		}
		return conn, nil
	}
	stream, err := i.peers.DialConsole(ctx, in.Node, in.ID, kind)
	return stream, elsewhere(in, err)
}

// Diagnostics implements compute.Inside.
func (i *inside) Diagnostics(ctx context.Context, in *cluster.Instance) (d cluster.Diagnostics, err error) {
	if in.Node == i.self {
		d, err = hereInside{i}.Diagnostics(ctx, in.ID)
	} else {
		ctx, cancel := context.WithTimeout(ctx, insideTimeout)
		defer cancel()
		d, err = i.peers.Diagnostics(ctx, in.Node, in.ID)
	}
	return d, elsewhere(in, err)
}

// SetPassword implements compute.Inside.
func (i *inside) SetPassword(ctx context.Context, in *cluster.Instance, user, password string) error {
	if in.Node == i.self {
		return elsewhere(in, hereInside{i}.SetPassword(ctx, in.ID, user, password))
	}
	ctx, cancel := context.WithTimeout(ctx, passwordTimeout)
	defer cancel()
	return elsewhere(in, i.peers.SetPassword(ctx, in.Node, in.ID, user, password))
}

// Crash implements compute.Inside.
func (i *inside) Crash(ctx context.Context, in *cluster.Instance) error {
	if in.Node == i.self {
		return elsewhere(in, hereInside{i}.Crash(ctx, in.ID))
	}
	ctx, cancel := context.WithTimeout(ctx, insideTimeout)
	defer cancel()
	return elsewhere(in, i.peers.Crash(ctx, in.Node, in.ID))
}

// elsewhere is an error of a guest's node as whoever asked this node is told it.
func elsewhere(in *cluster.Instance, err error) error {
	var refusal *cluster.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refusal):
		return cluster.Errorf(cluster.Unavailable, "The node of instance %s does not answer.", in.ID)
	case refusal.Code == cluster.NotFound:
		return cluster.Errorf(cluster.Conflict, "Instance %s is not ready", in.ID)
	}
	return err
}
