package libvirt

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// pair is a guest whose disk has a replica on another host, and the way between the two, as the nodes of a cluster are.
type pair struct {
	*bench
	there  *bench
	socket string

	mu    sync.Mutex
	open  bool
	bluff bool // somebody answers in place of the replica
	conns []net.Conn
}

const replicaEpoch = 9

func newPair(t *testing.T) *pair {
	here := newBench(t, nil)
	there := &bench{T: t, rig: newRig(t, second.get(t), DefaultURI), ctx: here.ctx, id: here.id}
	there.driver = there.rig.Driver.(*Driver)
	p := &pair{bench: here, there: there, open: true}
	run(t, "cp", "--sparse=always", here.guest.Root.Base, there.config.DataDir)
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 9 900k 4k", here.place().disk(4, virt.DiskRoot))
	root := here.guest.Root
	root.Base = strings.Replace(root.Base, here.config.DataDir, there.config.DataDir, 1)
	p.must("make the replica", there.driver.MakeReplica(p.ctx, p.id, replicaEpoch, root))
	dir, err := os.MkdirTemp("", "pair-")
	p.must("make a directory", err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p.socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", p.socket)
	p.must("listen", err)
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); p.cut(); wg.Wait() })
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.carry(near) })
		}
	})
	p.start()
	return p
}

// carry takes one connection through, if the way is open.
func (p *pair) carry(near net.Conn) {
	defer near.Close()
	p.mu.Lock()
	open, bluff := p.open, p.bluff
	p.mu.Unlock()
	if !open {
		return
	}
	serve := func() (net.Conn, error) { return p.there.driver.ServeReplica(p.ctx, p.id, replicaEpoch) }
	if bluff {
		serve = func() (net.Conn, error) { return p.driver.Discard(p.ctx) }
	}
	far, err := serve()
	if err != nil {
		p.Logf("serve: %v", err)
		return
	}
	defer far.Close()
	p.mu.Lock()
	p.conns = append(p.conns, near, far)
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(near, far); near.Close() }()
	io.Copy(far, near)
	far.Close()
	<-done
}

// cut closes the way.
func (p *pair) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *pair) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = true
}

func (p *pair) state() virt.MirrorState {
	p.Helper()
	s, err := p.driver.Mirrored(p.ctx, p.id)
	p.must("look at the mirror", err)
	return s
}

// write has the guest's disk written as the guest would. It returns at once: QEMU answers the guest, and nobody else.
func (p *pair) write(pattern, at string) {
	p.Helper()
	p.must("write", p.driver.qmp(p.ctx, p.dom(), "human-monitor-command", map[string]any{
		"command-line": `qemu-io -d /machine/peripheral/ua-disk-root/virtio-backend "aio_write -P ` + pattern + ` ` + at + ` 4k"`}, nil))
}

// has looks into the replica's file, which nobody has open.
func (p *pair) has(pattern, at string) {
	p.Helper()
	out := run(p.T, "qemu-io", "-r", "-f", "qcow2", "-c", "read -P "+pattern+" "+at+" 4k", p.there.place().disk(replicaEpoch, virt.DiskRoot))
	if strings.Contains(out, "verification failed") {
		p.Errorf("at %s the replica has not %s: %s", at, pattern, out)
	}
}

// A guest's disk is mirrored to another host. What was there before and what is written then is there; while the way is cut nothing is
// answered, and afterwards what was written meanwhile is there, too. Ended, the guest goes on alone.
func TestQEMU_MirrorHoldsWritesBack(t *testing.T) {
	p := newPair(t)
	if s := p.state(); s != virt.MirrorNone {
		t.Fatalf("before it begins it is %v", s)
	}
	p.must("mirror", p.driver.Mirror(p.ctx, p.id, p.socket))
	p.must("mirror again", p.driver.Mirror(p.ctx, p.id, p.socket))
	p.eventually("it is ready", func() bool { return p.state() == virt.MirrorReady })
	p.write("11", "100k")
	p.cut()
	p.write("12", "300k")
	time.Sleep(2 * time.Second)
	if s := p.state(); s != virt.MirrorReady {
		t.Fatalf("without an answer it is %v", s)
	}
	if waits := p.waiting(); waits == 0 {
		t.Error("nothing waits for the replica")
	}
	p.heal()
	p.eventually("nothing waits", func() bool { return p.waiting() == 0 })
	p.cut()
	for at, pattern := range map[string]string{"900k": "9", "100k": "11", "300k": "12"} {
		p.has(pattern, at)
	}
	p.write("13", "500k")
	p.must("end", p.driver.EndMirror(p.ctx, p.id))
	p.must("end again", p.driver.EndMirror(p.ctx, p.id))
	if s := p.state(); s != virt.MirrorNone {
		t.Errorf("ended, it is %v", s)
	}
	n, _ := p.count()
	p.counted(n + 1)
	p.must("stop", p.driver.Stop(p.ctx, p.id, virt.Destroy))
	p.is("mirror what is off", p.driver.Mirror(p.ctx, p.id, p.socket), virt.ErrNotRunning)
	out := run(t, "qemu-io", "-r", "-f", "qcow2", "-c", "read -P 13 500k 4k", p.place().disk(4, virt.DiskRoot))
	if strings.Contains(out, "verification failed") {
		t.Errorf("the guest's own disk lacks what it wrote alone: %s", out)
	}
}

// waiting is how many bytes the mirror has yet to write.
func (p *pair) waiting() int64 {
	p.Helper()
	var jobs []struct {
		ID    string `json:"id"`
		Done  int64  `json:"current-progress"`
		Total int64  `json:"total-progress"`
	}
	p.must("look at jobs", p.driver.qmp(p.ctx, p.dom(), "query-jobs", nil, &jobs))
	for _, j := range jobs {
		if j.ID == mirrorJob {
			return j.Total - j.Done
		}
	}
	return 0
}

// The guest is paused, and the mirror ended, while a write waits for its replica: QEMU hears nothing before that is answered. Somebody answers in the
// replica's place, and all goes on.
func TestQEMU_MirrorIsAnsweredInItsPlace(t *testing.T) {
	p := newPair(t)
	p.must("mirror", p.driver.Mirror(p.ctx, p.id, p.socket))
	p.eventually("it is ready", func() bool { return p.state() == virt.MirrorReady })
	p.cut()
	p.write("15", "800k")
	paused := make(chan error, 1)
	go func() { paused <- p.driver.Pause(p.ctx, p.id) }()
	time.Sleep(2 * time.Second)
	select {
	case err := <-paused:
		t.Fatalf("QEMU waited for nothing: %v", err)
	default:
	}
	p.mu.Lock()
	p.open, p.bluff = true, true
	p.mu.Unlock()
	p.must("pause", <-paused)
	p.must("end", p.driver.EndMirror(p.ctx, p.id))
	p.must("let it go on", p.driver.Unpause(p.ctx, p.id))
	if s := p.state(); s != virt.MirrorNone {
		t.Errorf("ended, it is %v", s)
	}
}

// The replica's disk is full. The host there answers nothing rather than an error, so the guest is held back and the mirror does not end by
// itself.
func TestQEMU_MirrorWhoseReplicaCannotWriteHoldsBack(t *testing.T) {
	p := newPair(t)
	p.must("mirror", p.driver.Mirror(p.ctx, p.id, p.socket))
	p.eventually("it is ready", func() bool { return p.state() == virt.MirrorReady })
	p.mu.Lock()
	far := p.conns[1].(*served)
	p.mu.Unlock()
	run(t, "prlimit", "--pid", strconv.Itoa(far.cmd.Process.Pid), "--fsize=0:0") // every write fails, or ends the program
	p.write("14", "700k")
	time.Sleep(time.Second)
	if s := p.state(); s != virt.MirrorReady {
		t.Fatalf("without room there it is %v", s)
	}
	p.eventually("it is written with the next program", func() bool { return p.waiting() == 0 })
	p.cut()
	p.has("14", "700k")
}

// What is not there, or in use, is not served or made anew.
func TestQEMU_ReplicaIsNeverADiskInUse(t *testing.T) {
	b := newBench(t, nil)
	if _, err := b.driver.ServeReplica(b.ctx, b.id, 8); err == nil {
		t.Error("what is not there is served")
	}
	if _, err := b.driver.ServeReplica(b.ctx, b.id, 4); err == nil {
		t.Error("the disk of a domain is served")
	}
	b.must("make", b.driver.MakeReplica(b.ctx, b.id, 8, b.guest.Root))
	if err := b.driver.MakeReplica(b.ctx, b.id, 4, b.guest.Root); err == nil {
		t.Error("the disk of a domain is made anew")
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := b.driver.ServeReplica(ctx, b.id, 8); err == nil {
		t.Error("it is served to somebody who has gone")
	}
}
