package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/node/lease"
)

const (
	restartAfter = 500 * time.Millisecond // as systemd would
	followEvery  = 50 * time.Millisecond
	stopGrace    = 20 * time.Second
	endSlack     = 15 * time.Second // that a daemon whose disk failed may take to end
	leaseSlack   = 5 * time.Second  // that a daemon which stood still may take to end what a watchdog would have killed
)

// peer is a node that can be hurt.
type peer struct {
	*cloud.Node
	town *town

	mu      sync.Mutex    // guards Daemon and the host's power
	held    bool          // it is not started again
	excused time.Time     // it may end by itself until then: its disk fails
	ahead   time.Duration // of its daemon's wall clock, also when it begins again

	reading sync.Mutex // guards what follows, and is held while the host's disk goes
	records audit.Tail
	ended   map[cluster.InstanceID]bool // guests that a watchdog would have killed
}

// keep starts the daemon again whenever it ends.
func (p *peer) keep(ctx context.Context) {
	for pause(ctx, restartAfter) {
		p.mu.Lock()
		if !p.held && p.Host.IsOn() && p.isDown() {
			if time.Now().After(p.excused) {
				p.town.fault("the daemon of %s ended by itself: see its log", p.Name())
			}
			if err := p.begin(); err != nil {
				p.town.fault("start %s: %v", p.Name(), err)
			}
		}
		p.mu.Unlock()
	}
}

func (p *peer) isDown() bool {
	select {
	case <-p.Daemon.Done():
		return true
	default:
		return false
	}
}

// kill ends the daemon at once, and nobody starts it before raise.
func (p *peer) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
	return p.Daemon.Kill()
}

// leave asks the daemon to end.
func (p *peer) leave() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
	return p.Daemon.Stop(stopGrace)
}

// raise starts a daemon that was ended.
func (p *peer) raise() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	if !p.isDown() {
		return nil
	}
	return p.begin()
}

// begin starts the daemon, and turns its clock as soon as there is one. p.mu is held.
func (p *peer) begin() error {
	if err := p.StartDaemon(); err != nil || p.ahead == 0 {
		return err
	}
	return p.Daemon.ShiftClock(p.ahead)
}

// turnClock makes the daemon's wall clock wrong by so much, now and when it begins again; 0: right.
func (p *peer) turnClock(ahead time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead = ahead
	if p.isDown() {
		return nil
	}
	return p.Daemon.ShiftClock(ahead)
}

func (p *peer) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Daemon.Signal(s)
}

// excuse lets the daemon end by itself for so long.
func (p *peer) excuse(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.excused = time.Now().Add(d)
}

// cut takes the host's power. A simulated hypervisor's own records are as durable as libvirt's, which syncs them: the daemon stands still while they are
// synced. All else that was not synced is lost.
func (p *peer) cut() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading.Lock()
	defer p.reading.Unlock()
	p.held = true
	if p.town.sim {
		if err := p.Daemon.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		if err := errors.Join(p.syncRecords(), p.read(), p.records.Park()); err != nil {
			return fmt.Errorf("sync the records of %s: %w", p.Name(), err)
		}
	}
	at := time.Now()
	err := p.Host.PowerCut()
	p.town.chronicle.CutPower(p.Name(), at)
	return err
}

func (p *peer) syncRecords() error {
	path, err := p.file("sim.json")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// restore gives the power back.
func (p *peer) restore(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	return p.PowerOn(ctx)
}

// file is where a file of the data directory is as long as the host has power.
func (p *peer) file(name string) (string, error) {
	return p.Host.Path(filepath.Join(p.Host.DataDir(), name))
}

// follow reads what the host writes down of its guests, and plays its watchdog.
func (p *peer) follow(ctx context.Context) {
	for pause(ctx, followEvery) {
		p.catchUp()
	}
	p.reading.Lock()
	defer p.reading.Unlock()
	p.records.Close()
}

// catchUp takes in all that the host has written until now.
func (p *peer) catchUp() {
	p.reading.Lock()
	defer p.reading.Unlock()
	if !p.Host.IsOn() {
		return
	}
	if err := errors.Join(p.read(), p.guard()); err != nil {
		p.town.fault("read the records of %s: %v", p.Name(), err)
	}
}

func (p *peer) read() error {
	path, err := p.file("sim.json")
	if err != nil {
		return err
	}
	p.records.Path = path
	return p.records.Read(func(e audit.Entry) { p.town.chronicle.Take(p.Name(), e) })
}

// guard does what the host's watchdog would do, which simulated guests, not being processes, have none of: it takes those that are guarded for ended when
// the lease on the node's board is over, and the daemon's grace, too, until there is a new lease.
func (p *peer) guard() error {
	dir, err := p.file("lease")
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	board, err := lease.OpenBoard(dir)
	if err != nil {
		return err
	}
	n, err := board.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	over := lease.BootTime() - (n.Until + n.Grace)
	if over < 0 {
		for id := range p.ended {
			p.town.chronicle.MayRun(p.Name(), string(id), time.Now().Add(leaseSlack))
		}
		p.ended = nil
		return nil
	}
	if p.ended == nil {
		p.ended = map[cluster.InstanceID]bool{}
	}
	for _, id := range n.Instances {
		if !p.ended[id] {
			p.ended[id] = true
			p.town.chronicle.Ended(p.Name(), string(id), time.Now().Add(-over))
		}
	}
	return nil
}

// points is the file that says where the daemon is to fail.
func (p *peer) points() string { return filepath.Join(p.town.dir, p.Name()+".points") }

// setPoints says where the daemon fails from now on.
func (p *peer) setPoints(spec string) error {
	temp := p.points() + ".new"
	if err := os.WriteFile(temp, []byte(spec), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, p.points())
}
