package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"golang.org/x/sys/unix"

	"github.com/kilonova/kilonova/virt"
)

// A copy that goes as fast as QEMU can fills the page cache in no time, and whoever syncs a file then, a guest or the node's own log,
// waits until all of that is on disk. So a copy is written to disk in small steps, and goes as fast as leaves each of them short.
const (
	paceStep = 50 * time.Millisecond // between two steps
	paceLong = 50 * time.Millisecond // a step that takes longer halves the speed
	paceFast = paceLong / 2          // one that takes less than that raises it, by a quarter

	// The speeds, in bytes a second. The least one lets every copy end, whatever the disk has to do beside it.
	paceFirst = 32 * mib
	paceLeast = 16 * mib
	paceMost  = 4 * gib
	paceHoles = 512 * mib // where nothing is written: what comes behind a hole begins at this speed
)

// stride is one step of a copy.
type stride struct {
	wrote int64         // bytes that were copied since the step before it
	went  int64         // bytes of the disk that the copy is further since then, holes and all
	since time.Duration // how long ago that was
	took  time.Duration // until they were on disk
}

// nextPace gives the speed until the next step. A disk that has nothing else to do comes to spend about half of its time on the copy. A
// copy that is slower than it may be has met no limit of the disk's, and learns nothing of it: the speed stays. One that goes through a
// hole writes nothing, but QEMU counts the hole against the speed.
func nextPace(now uint64, last stride) uint64 {
	atLimit := func(n int64) bool { return float64(n) >= float64(now)*last.since.Seconds()/2 }
	switch {
	case last.took > paceLong:
		return max(paceLeast, now/2)
	case last.took >= paceFast:
	case atLimit(last.wrote):
		return min(paceMost, now+now/4)
	case atLimit(last.went):
		return max(now, min(paceHoles, now+now/4))
	}
	return now
}

// pacer holds a copy that QEMU makes to a speed.
type pacer struct {
	dom    rpc.Domain
	device string // the disk that is copied, by its name in the domain
	file   *os.File
	speed  uint64 // bytes a second; 0: none was set yet
	size   int64  // bytes on disk at the last step
	gone   int64  // how far the copy was then, in bytes of the disk
	at     time.Time
}

// newPacer opens the file that QEMU copies to, which is there. The caller closes the pacer.
func newPacer(dom rpc.Domain, device, file string) (*pacer, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &pacer{dom: dom, device: device, file: f, at: time.Now()}, nil
}

func (p *pacer) close() error { return p.file.Close() }

// step writes to disk what was copied since the last one, and sets the speed until the next one. gone is how far the copy is, in bytes of
// the disk. That the copy has ended is no error.
func (p *pacer) step(ctx context.Context, d *Driver, gone int64) error {
	next := uint64(paceFirst)
	if p.speed > 0 {
		last, err := p.write()
		last.went, p.gone = gone-p.gone, gone
		if err != nil {
			return fmt.Errorf("write %s to disk: %w", p.file.Name(), err)
		}
		next = nextPace(p.speed, last)
	}
	if next == p.speed {
		return nil
	}
	p.speed = next
	err := tell(ctx, d.rpc, "set the speed of a copy", func(l *rpc.Libvirt) error {
		return l.DomainBlockJobSetSpeed(p.dom, p.device, next, rpc.DomainBlockJobSpeedBandwidthBytes)
	})
	if errors.Is(err, virt.ErrUnavailable) {
		return err
	}
	return nil
}

// write makes what was copied safe.
func (p *pacer) write() (stride, error) {
	var st unix.Stat_t
	start := time.Now()
	if err := errors.Join(unix.Fdatasync(int(p.file.Fd())), unix.Fstat(int(p.file.Fd()), &st)); err != nil {
		return stride{}, err
	}
	size := st.Blocks * blockUnit
	last := stride{wrote: size - p.size, since: start.Sub(p.at), took: time.Since(start)}
	p.size, p.at = size, start
	return last, nil
}

// blockUnit is what stat(2) counts blocks in, in bytes.
const blockUnit = 512
