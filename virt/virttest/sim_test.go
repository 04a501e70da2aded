package virttest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
	"github.com/kilonova/kilonova/virt/virttest"
)

// The sim driver stands in for libvirt in thousands of tests, so it must keep the same promises.
func TestConformance_Sim(t *testing.T) {
	virttest.Run(t, func(t *testing.T) *virttest.Backend {
		h := newHost(t, "a")
		var peer *host
		looks := func(id cluster.InstanceID) sim.Held {
			held, ok := h.Look(id)
			if (!ok || !held.Defined) && peer != nil {
				held, _ = peer.Look(id)
			}
			return held
		}
		n := 0
		return &virttest.Backend{
			Driver: h.Driver, ClusterID: "c1", Prints: "login:",
			Has: virttest.Abilities{Saves: true, Hotplug: true, Files: true, Inside: true,
				Consoles: []virt.ConsoleKind{virt.ConsoleVNC, virt.ConsoleSerial}},
			Guest: func(*testing.T) virt.Guest {
				return virt.Guest{VCPUs: 1, MemoryMiB: 64, Root: virt.RootDisk{SizeGiB: 1}}
			},
			Reopen: h.reopen,
			Stranger: func(t *testing.T, id cluster.InstanceID, stamp virt.Stamp) {
				must(t, h.Plant(virt.Domain{ID: id, Name: "stranger", Stamp: stamp, Power: virt.PowerRunning}))
			},
			Die: func(t *testing.T, id cluster.InstanceID) { must(t, h.CrashGuest(id)) },
			Volume: func(t *testing.T) virt.Disk {
				n++
				return virt.Disk{ID: virt.DiskID(fmt.Sprintf("volume-%d", n)), Path: filepath.Join(h.dir, fmt.Sprint("v", n)), Format: "raw"}
			},
			NIC: func(*testing.T) virt.NIC {
				n++
				return virt.NIC{MAC: fmt.Sprintf("fa:16:3e:00:00:%02x", n), Bridge: "br0"}
			},
			Memory: func(_ *testing.T, id cluster.InstanceID) string { return fmt.Sprint("boot ", looks(id).Boot) },
			Epochs: func(_ *testing.T, id cluster.InstanceID) []uint64 { held, _ := h.Look(id); return held.Epochs },
			Mark: func(t *testing.T, id cluster.InstanceID) string {
				mark := "mark of " + string(id)
				must(t, h.Start(t.Context(), id), h.GuestWrite(id, mark), h.Stop(t.Context(), id, virt.Destroy))
				return mark
			},
			Marked: marked,
			Peer: func(t *testing.T) virt.Driver {
				peer = newHost(t, "b")
				return peer.Driver
			},
			Connect: h.connect,
		}
	})
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// host is a simulated host with a directory of its own.
type host struct {
	*sim.Driver
	config sim.Config
	dir    string
}

// newHost opens a host. The path of its directory is short, as those of sockets have to be.
func newHost(t *testing.T, name string) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "kn-"+name)
	must(t, err)
	h := &host{dir: dir, config: sim.Config{File: filepath.Join(dir, "sim"), Sockets: filepath.Join(dir, "s"),
		Boot: 10 * time.Millisecond, Shutdown: 10 * time.Millisecond}}
	h.Driver, err = sim.New(h.config)
	must(t, err)
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) reopen(t *testing.T) virt.Driver {
	t.Helper()
	must(t, h.Close())
	var err error
	h.Driver, err = sim.New(h.config)
	must(t, err)
	return h.Driver
}

// connect proxies the peer's sockets, as two nodes would: each of ours leads to the one there.
func (h *host) connect(t *testing.T, peer virt.Driver, l *virt.Landing) {
	t.Helper()
	there := peer.Sockets()
	for name, end := range map[string]struct {
		ours *string
		to   string
	}{
		"daemon": {&l.Libvirt, there.Libvirt},
		"memory": {&l.Memory, filepath.Join(there.Dir, "memory")},
		"nbd":    {&l.NBD, filepath.Join(there.Dir, "nbd")},
	} {
		*end.ours = filepath.Join(h.Sockets().Dir, name)
		proxy(t, *end.ours, end.to)
	}
}

// proxy leads every connection to one path on to another, until the test ends.
func proxy(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("unix", from)
	must(t, err)
	var loop sync.WaitGroup
	t.Cleanup(func() {
		must(t, l.Close())
		loop.Wait()
	})
	loop.Go(func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("unix", to)
			if err != nil {
				here.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
				loop.Go(func() {
					io.Copy(way[0], way[1])
					way[0].Close()
					way[1].Close()
				})
			}
		}
	})
}

// marked looks for the mark on the disk in an image, with QEMU's tool where that is installed.
func marked(t *testing.T, path, mark string) bool {
	t.Helper()
	if tool, err := exec.LookPath("qemu-img"); err == nil {
		raw := path + ".raw"
		defer os.Remove(raw)
		if out, err := exec.Command(tool, "convert", "-f", "qcow2", "-O", "raw", path, raw).CombinedOutput(); err != nil {
			t.Fatalf("convert: %v: %s", err, out)
		}
		path = raw
	}
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 1<<20))
	must(t, err)
	return strings.Contains(string(head), mark)
}
