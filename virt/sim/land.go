package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// daemonSocket is the name of the daemon's socket in Config.Sockets.
const daemonSocket = "virtd"

// Sockets names the host's own sockets; none without Config.Sockets.
func (d *Driver) Sockets() virt.Sockets {
	if d.cfg.Sockets == "" {
		return virt.Sockets{}
	}
	return virt.Sockets{Libvirt: filepath.Join(d.cfg.Sockets, daemonSocket), Dir: d.cfg.Sockets}
}

// Receive makes the disks of a guest that is about to arrive.
func (d *Driver) Receive(ctx context.Context, g virt.Guest) (virt.Landing, error) {
	return act(ctx, d, OpReceive, func() (virt.Landing, error) {
		id := g.Stamp.Instance
		r := d.records[id]
		cards := make([]nic, 0, len(g.NICs))
		for _, n := range g.NICs {
			cards = append(cards, card(n))
		}
		err := checkGuest(g)
		switch {
		case err != nil:
		case d.cfg.Sockets == "":
			err = fmt.Errorf("this host has no sockets: %w", virt.ErrUnsupported)
		case r.Defined:
			err = errors.New("it is defined here already")
		case d.missingBridge(cards) != "":
			err = fmt.Errorf("this host has no bridge %q", d.missingBridge(cards))
		}
		if err == nil {
			r.Storage, err = r.Storage.built(g)
		}
		if err != nil {
			return virt.Landing{}, fmt.Errorf("receive %s: %w", id, err)
		}
		r.Format, r.Arriving = recordFormat, &g.Stamp
		l := d.landing(g, r.Storage)
		r.Storage.Volumes = nil
		return l, d.put(id, r)
	})
}

// landing names the places of a guest's parts on this host. Its own disks have no files; their names are as if.
func (d *Driver) landing(g virt.Guest, s storage) virt.Landing {
	dir := filepath.Join(d.cfg.Sockets, "instances", filepath.Base(string(g.Stamp.Instance)))
	l := virt.Landing{Stamp: g.Stamp, Disks: map[virt.DiskID]string{}, Bridges: map[string]string{}, Console: filepath.Join(dir, "console.log")}
	if len(g.ConfigDrive) > 0 {
		l.Config = filepath.Join(dir, "config.iso")
	}
	for _, f := range s.Files {
		if f.Epoch == s.Epoch {
			l.Disks[f.ID] = filepath.Join(dir, fmt.Sprintf("disks-%d", f.Epoch), string(f.ID))
		}
	}
	for _, v := range s.Volumes {
		l.Disks[v.ID] = v.Path
	}
	for _, n := range g.NICs {
		l.Bridges[n.MAC] = n.Bridge
	}
	return l
}

// listen opens the daemon's socket, if there is to be one.
func (d *Driver) listen() error {
	if d.cfg.Sockets == "" {
		return nil
	}
	l, err := d.net.Listen(filepath.Join(d.cfg.Sockets, daemonSocket))
	if err != nil {
		return err
	}
	d.hold(l)
	d.loop.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			d.loop.Go(func() { d.serveDaemon(c) })
		}
	})
	return nil
}

// hold lets Close close c, or closes it at once if it is too late.
func (d *Driver) hold(c io.Closer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.Close()
		return
	}
	d.held[c] = struct{}{}
}

// release closes what hold was given.
func (d *Driver) release(c io.Closer) {
	d.mu.Lock()
	delete(d.held, c)
	d.mu.Unlock()
	c.Close()
}

// serveDaemon answers one connection of a source.
func (d *Driver) serveDaemon(c net.Conn) {
	d.hold(c)
	defer d.release(c)
	s := newStream(c)
	for {
		var m message
		if s.in.Decode(&m) != nil {
			return
		}
		var reply message
		var err error
		switch m.Call {
		case callQuery:
			reply.Running = d.runs(m.ID, m.Landing.Stamp)
		case callBegin:
			err = d.arrive(s, m)
			if errors.Is(err, errSilent) {
				return
			}
		default:
			err = fmt.Errorf("a call %q is not known", m.Call)
		}
		if err != nil {
			reply.Error = err.Error()
		}
		if s.out.Encode(reply) != nil {
			return
		}
	}
}

func (d *Driver) runs(id cluster.InstanceID, s virt.Stamp) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[id]
	return ok && r.Defined && r.up() && r.Stamp == s
}

// errSilent says that the source is not to be answered any more.
var errSilent = errors.New("no answer")

// restPatience is how long the last of a guest may be on its way when its source has sent it.
const restPatience = 5 * time.Second

// cargo is what came over the connections for memory and disks.
type cargo struct {
	boot   *boot
	paused bool
	disks  map[virt.DiskID]diskWrite
}

// arrive takes a guest in. What it returns is the answer to the begin; if that is errSilent, all was answered, and the
// connection is at its end.
func (d *Driver) arrive(s *stream, m message) error {
	if err := d.expected(m); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type end struct {
		load cargo
		err  error
	}
	came := make(chan end, 1)
	ready := make(chan error, 1)
	d.loop.Go(func() {
		load, err := d.unload(ctx, m, ready)
		came <- end{load, err}
	})
	if err := <-ready; err != nil {
		return err
	}
	if s.out.Encode(message{}) != nil {
		return errSilent
	}
	var next message
	err := s.in.Decode(&next) // the finish, or the end of a source that gave up
	if err != nil || next.Call != callFinish {
		cancel()
		<-came
		return errSilent
	}
	// The source has sent everything, and a stream that was not even opened by now was lost on its way.
	lost := time.AfterFunc(restPatience, cancel)
	got := <-came
	lost.Stop()
	err = got.err
	lose := false
	if err == nil {
		d.loop.Go(func() { // a source that gives up gives up the landing
			_ = s.in.Decode(&message{})
			cancel()
		})
		lose, err = d.suffer(ctx, OpLand)
	}
	if err == nil {
		err = d.land(next, m.Landing, m.ID, got.load)
	}
	var reply message
	if err != nil {
		reply.Error = err.Error()
	}
	if err != nil || !lose {
		_ = s.out.Encode(reply) // a source that does not hear it asks again
	}
	return errSilent
}

// expected refuses a guest that Receive did not prepare for.
func (d *Driver) expected(m message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[m.ID]
	switch {
	case d.down:
		return errors.New("the simulated hypervisor is down")
	case m.Record == nil || m.Record.upgrade() != nil:
		return errors.New("there is no record of the guest")
	case !ok || r.Defined || r.Arriving == nil || *r.Arriving != m.Landing.Stamp:
		return fmt.Errorf("nobody prepared for %s with this stamp", m.ID)
	}
	return nil
}

// unload listens for memory and disks, says so on ready, and reads both to their ends.
func (d *Driver) unload(ctx context.Context, m message, ready chan<- error) (cargo, error) {
	load := cargo{disks: map[virt.DiskID]diskWrite{}}
	memory, err := d.listenOnce(ctx, m.Memory)
	if err != nil {
		ready <- err
		return load, err
	}
	nbd, err := d.listenOnce(ctx, m.NBD)
	ready <- err
	if err != nil {
		return load, err
	}
	disks := make(chan error, 1)
	d.loop.Go(func() {
		disks <- nbd(func(s *stream) error {
			return drain(s, func(w diskWrite) { load.disks[w.ID] = w })
		})
	})
	err = memory(func(s *stream) error {
		return drain(s, func(p memoryPage) {
			if p.Boot != nil {
				load.boot, load.paused = p.Boot, p.Paused
			}
		})
	})
	return load, errors.Join(err, <-disks)
}

// listenOnce takes a name in the directory of sockets. What it returns waits for the one connection and serves it.
func (d *Driver) listenOnce(ctx context.Context, name string) (func(func(*stream) error) error, error) {
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." || name == daemonSocket {
		return nil, fmt.Errorf("%q is no name for a socket", name)
	}
	l, err := d.net.Listen(filepath.Join(d.cfg.Sockets, name))
	if err != nil {
		return nil, err
	}
	d.hold(l)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	return func(serve func(*stream) error) error {
		defer stop()
		c, err := l.Accept()
		d.release(l)
		if err != nil {
			return err
		}
		d.hold(c)
		defer d.release(c)
		defer context.AfterFunc(ctx, func() { c.Close() })()
		return serve(newStream(c))
	}, nil
}

// land defines the guest, as the source's finish describes it, and lets it go on.
func (d *Driver) land(finish message, l virt.Landing, id cluster.InstanceID, load cargo) error {
	_, err := locked(d, OpLand, func() (struct{}, error) {
		r := d.records[id]
		from := finish.Record
		switch {
		case r.Arriving == nil || *r.Arriving != l.Stamp:
			return struct{}{}, errors.New("it is not expected any more")
		case from == nil || from.upgrade() != nil || load.boot == nil || slices.ContainsFunc(finish.Disks, func(id virt.DiskID) bool { return !load.disks[id].Last }):
			return struct{}{}, errors.New("not all of it came")
		}
		now := d.cfg.Now()
		r.Arriving, r.Defined, r.Stamp, r.Domain, r.Machine = nil, true, l.Stamp, from.Domain, from.Machine
		r.NICs = slices.Clone(from.NICs)
		for i := range r.NICs {
			r.NICs[i].Bridge = l.Bridges[r.NICs[i].MAC]
		}
		r.Storage.Volumes = slices.Clone(from.Storage.Volumes)
		for i := range r.Storage.Volumes {
			r.Storage.Volumes[i].Path = l.Disks[r.Storage.Volumes[i].ID]
		}
		for id, w := range load.disks {
			if f := r.Storage.own(id); f != nil {
				f.Notes, f.Bytes = w.Notes, max(f.Bytes, w.Bytes)
			}
		}
		b := *load.boot
		b.Here, b.Since, b.Off = b.Ran, time.Time{}, time.Time{}
		r.Boots, r.Saved = []boot{b}, false
		r.Due, r.DueLeft, r.DuePower, r.DueReason = time.Time{}, from.DueLeft, from.DuePower, from.DueReason
		r.Power, r.Reason = virt.PowerPaused, "migrated"
		if !load.paused {
			r.Power = virt.PowerRunning
			r.goOn(now)
			r.say(now, "sim: arrived, in boot %d", b.Count)
		}
		return struct{}{}, d.put(id, r)
	})
	return err
}
