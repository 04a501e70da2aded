package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	maxLiveRatio = 1.2

	liveHosts = 2
	// virshDir is where the sockets of migrations by hand are, on both hosts.
	virshDir = "/run/libvirt/bench"
	// libvirtSocket is where a host's libvirtd listens.
	libvirtSocket = "/run/libvirt/libvirt-sock"
)

// measureLive migrates a running server with its disk through the API, and a twin of it with virsh, between the same two hosts, in
// turns. For virsh the three connections are UNIX sockets, too, passed on by this program in memory: no network, no encryption.
func measureLive(ctx context.Context, b *bench) error {
	return b.play(ctx, liveHosts, nil, func(t *theater) error {
		d, err := newDuet(ctx, t)
		if err != nil {
			return err
		}
		err = b.live(ctx, d)
		return errors.Join(err, d.hands.close())
	})
}

func (b *bench) live(ctx context.Context, d *duet) error {
	if err := d.awaitBoots(ctx); err != nil {
		return err
	}
	for range liveHosts { // there and back once, so that both hosts have the image
		if _, err := d.migrate(ctx); err != nil {
			return err
		}
	}
	w, err := startWatch(b.dir, nil)
	if err != nil {
		return err
	}
	var ours, theirs, ratio []float64
	for range b.runs {
		first, err := d.migrate(ctx)
		if err != nil {
			return err
		}
		second, err := d.migrateByHand(ctx)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, first.Seconds()), append(theirs, second.Seconds())
		ratio = append(ratio, first.Seconds()/second.Seconds())
	}
	during := w.stop()
	for i, id := range []string{d.server.ID, d.twin.id} { // in the same memory as before
		c, err := heard(d.node, id)
		if err == nil && c.ID != d.boots[i] {
			err = fmt.Errorf("guest %s was started anew", id)
		}
		if err != nil {
			return err
		}
	}
	b.add(
		figure{Name: "live migration with a local disk, to that by virsh", Unit: "times", Values: ratio, Limit: maxLiveRatio, During: during},
		figure{Name: "live migration with a local disk, request to ACTIVE", Unit: "s", Values: ours, During: during},
		figure{Name: "live migration with a local disk, virsh migrate", Unit: "s", Values: theirs, During: during},
	)
	return nil
}

// migrate sends the server to the other host.
func (d *duet) migrate(ctx context.Context) (time.Duration, error) {
	from, err := d.settled(ctx, d.server.ID, "ACTIVE")
	if err != nil {
		return 0, err
	}
	took, err := d.acted(ctx, d.server.ID, map[string]any{"os-migrateLive": map[string]any{"host": nil, "block_migration": "auto"}}, "ACTIVE")
	if err != nil {
		return 0, err
	}
	now, err := d.settled(ctx, d.server.ID, "ACTIVE")
	if err == nil && now.Host == from.Host {
		err = fmt.Errorf("server %s is still on %s", d.server.ID, now.Host)
	}
	if err != nil {
		return 0, err
	}
	d.node, err = d.theater.node(now.Host)
	return took, err
}

// migrateByHand sends the twin to the other host, where its disk and its drive are made before.
func (d *duet) migrateByHand(ctx context.Context) (took time.Duration, err error) {
	from, to := d.twin.node, d.other(d.twin.node)
	if err := d.twin.prepare(ctx, to); err != nil {
		return 0, err
	}
	r, err := newRelays(from, to)
	if err != nil {
		return 0, err
	}
	_, took, err = d.hands.do(ctx, "migrate", d.twin.name, "--live", "--p2p", "--persistent", "--undefinesource",
		"--copy-storage-inc", "--migrate-disks", "vda",
		"--desturi", "qemu+unix:///system?socket="+filepath.Join(virshDir, "libvirt"),
		"--migrateuri", "unix://"+filepath.Join(virshDir, "memory"), "--disks-uri", "unix://"+filepath.Join(virshDir, "disks"))
	if err := errors.Join(err, r.close(), d.hands.close()); err != nil {
		return 0, err
	}
	d.twin.node = to
	d.hands, err = newHands(to.Host)
	return took, err
}

// prepare makes on another host what the twin needs when it arrives: an empty disk on the same image, and its other files.
func (t *twin) prepare(ctx context.Context, to *cloud.Node) error {
	if err := t.renewDisk(ctx, to); err != nil {
		return err
	}
	from, err := t.node.Host.Path(t.dir())
	if err != nil {
		return err
	}
	target, err := to.Host.Path(t.dir())
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(target, e.Name()), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// relays pass on what goes to sockets of one host to those of another.
type relays struct {
	listeners []net.Listener
	wg        sync.WaitGroup
}

func newRelays(from, to *cloud.Node) (_ *relays, err error) {
	r := &relays{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	for _, one := range []struct{ here, there string }{
		{filepath.Join(virshDir, "libvirt"), libvirtSocket},
		{filepath.Join(virshDir, "memory"), filepath.Join(virshDir, "memory")},
		{filepath.Join(virshDir, "disks"), filepath.Join(virshDir, "disks")},
	} {
		here, err := freshSocket(from, one.here)
		if err != nil {
			return r, err
		}
		if one.there != libvirtSocket {
			_, err = freshSocket(to, one.there)
		}
		there, pathErr := to.Host.Path(one.there)
		if err := errors.Join(err, pathErr); err != nil {
			return r, err
		}
		l, err := net.Listen("unix", here)
		if err != nil {
			return r, err
		}
		r.listeners = append(r.listeners, l)
		r.wg.Go(func() { r.accept(l, there) })
	}
	return r, nil
}

// freshSocket gives the path, on the machine, at which a socket of a host may be made.
func freshSocket(n *cloud.Node, inside string) (string, error) {
	path, err := n.Host.Path(inside)
	if err != nil {
		return "", err
	}
	err = os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.RemoveAll(path)
	}
	return path, err
}

func (r *relays) accept(l net.Listener, there string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		r.wg.Go(func() { relay(conn.(*net.UnixConn), there) })
	}
}

// relay passes on what comes on a connection, and back, until both have ended.
func relay(conn *net.UnixConn, there string) {
	defer conn.Close()
	far, err := net.Dial("unix", there)
	if err != nil {
		return // whoever connected sees the end
	}
	defer far.Close()
	var both sync.WaitGroup
	for _, way := range [][2]*net.UnixConn{{conn, far.(*net.UnixConn)}, {far.(*net.UnixConn), conn}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0])
			_ = way[1].CloseWrite()
		})
	}
	both.Wait()
}

// close ends the relays when all that they pass on has ended.
func (r *relays) close() error {
	var errs []error
	for _, l := range r.listeners {
		errs = append(errs, l.Close())
	}
	r.wg.Wait()
	return errors.Join(errs...)
}
