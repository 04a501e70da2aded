package libvirt

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/virttest"
)

// whole gives the rig all that guests of QEMU can do. They boot from the suite's boot sector, which cannot let go of a
// device, so what is hot-plugged is for the tests with a Linux guest.
func (r *rig) whole(d *daemon) *virttest.Backend {
	r.Has = virttest.Abilities{Saves: true, Files: true, Inside: true, Consoles: []virt.ConsoleKind{virt.ConsoleVNC, virt.ConsoleSerial}}
	r.Prints = virttest.BootSectorPrints
	r.Die = func(t *testing.T, id cluster.InstanceID) {
		if err := syscall.Kill(qemuProcess(t, string(id)), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r.Volume = func(t *testing.T) virt.Disk {
		path := filepath.Join(r.config.DataDir, "volume-"+uuid.NewString())
		run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
		return virt.Disk{ID: virt.DiskID(uuid.NewString()), Path: path, Format: "qcow2"}
	}
	r.NIC = func(*testing.T) virt.NIC {
		id := uuid.New()
		return virt.NIC{Port: cluster.PortID(id.String()), MAC: fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", id[0], id[1], id[2]), Bridge: "br0", Spoofing: true}
	}
	far := &rig{}
	r.Memory = func(t *testing.T, id cluster.InstanceID) string {
		for _, socket := range []string{d.socket, far.config.Socket} {
			if socket != "" && exec.Command("virsh", "-c", "qemu+unix:///system?socket="+socket, "domid", namePrefix+string(id)).Run() == nil {
				return nonce(t, socket, id)
			}
		}
		t.Fatalf("nobody has domain %s", id)
		return ""
	}
	r.Epochs, r.Mark, r.Marked = r.epochs, r.mark, marked
	r.Peer = func(t *testing.T) virt.Driver {
		*far = *newRig(t, second.get(t), DefaultURI)
		return far.Driver
	}
	r.Connect = func(t *testing.T, peer virt.Driver, l *virt.Landing) {
		connect(t, r.Driver.(*Driver), peer.(*Driver), l)
	}
	return r.Backend
}

// nonces counts the numbers that were given out.
var nonces atomic.Uint32

// nonce gives what the scratch register of a guest's serial port holds: a number that is put there when it is first
// asked for. It is a part of the machine that the guest leaves alone, that goes wherever its memory goes, and that is
// zero in a new boot.
func nonce(t *testing.T, socket string, id cluster.InstanceID) string {
	t.Helper()
	const scratch = "0x3ff"
	monitor := func(command string) string {
		return run(t, "virsh", "-c", "qemu+unix:///system?socket="+socket, "qemu-monitor-command", "--hmp", namePrefix+string(id), command)
	}
	read := func() string {
		_, value, _ := strings.Cut(strings.TrimSpace(monitor("i /b "+scratch)), "= ")
		return value
	}
	if got := read(); got != "0x00" {
		return got
	}
	monitor(fmt.Sprintf("o /b %s %#x", scratch, 1+nonces.Add(1)%255))
	return read()
}

func (r *rig) place(t *testing.T, id cluster.InstanceID) place {
	t.Helper()
	p, err := store{root: filepath.Join(r.config.DataDir, instancesDir)}.at(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (r *rig) epochs(t *testing.T, id cluster.InstanceID) []uint64 {
	t.Helper()
	list, err := r.place(t, id).epochs()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// root is the instance's latest root disk.
func (r *rig) root(t *testing.T, id cluster.InstanceID) string {
	t.Helper()
	latest := uint64(0)
	for _, e := range r.epochs(t, id) {
		latest = max(latest, e)
	}
	return r.place(t, id).disk(latest, virt.DiskRoot)
}

// markAt is where marks stand: behind the boot sector.
const markAt = "900k 4k"

func (r *rig) mark(t *testing.T, id cluster.InstanceID) string {
	t.Helper()
	pattern := strconv.Itoa(1 + int(uuid.New()[0])%255)
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -q -P "+pattern+" "+markAt, r.root(t, id))
	return pattern
}

func marked(t *testing.T, path, mark string) bool {
	t.Helper()
	out, err := exec.Command("qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -P "+mark+" "+markAt, path).CombinedOutput()
	return err == nil && !strings.Contains(string(out), "failed")
}

// connect fills in a landing's end points, with a proxy between the sockets of two hosts, as the nodes of a cluster are.
func connect(t *testing.T, here, there *Driver, l *virt.Landing) {
	t.Helper()
	dir, far := here.Sockets().Dir, there.Sockets().Dir
	l.Libvirt, l.Memory, l.NBD = there.cfg.Socket, filepath.Join(dir, "memory"), filepath.Join(dir, "disks")
	proxy(t, here.seen(l.Memory), there.seen(filepath.Join(far, "memory")))
	proxy(t, here.seen(l.NBD), there.seen(filepath.Join(far, "disks")))
}

// proxy passes on what comes to a socket here to a socket there, until the test ends.
func proxy(t *testing.T, here, there string) {
	t.Helper()
	_ = os.Remove(here)
	l, err := net.Listen("unix", here)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", there)
			if err != nil {
				from.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				wg.Go(func() {
					io.Copy(way[0], way[1])
					way[0].Close()
					way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
}
