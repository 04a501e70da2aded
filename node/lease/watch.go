package lease

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kilonova/kilonova/cluster"
)

// watchEvery is how often a watchdog looks.
const watchEvery = 100 * time.Millisecond

// Watch is the watchdog: when the lease on a board is over and the daemon's grace, too, it kills the QEMU of each instance named there,
// without libvirt and without the daemon, and goes on until a new lease is posted. Those of barred instances it kills whenever it sees them.
// It ends with ctx, when no instance is left to guard, or when another watchdog has the board.
func Watch(ctx context.Context, b *Board, proc string, clock Clock, log *slog.Logger) error {
	release, ok, err := b.Lock()
	if err != nil || !ok {
		return err
	}
	defer release()
	w := &watchdog{board: b, proc: proc, clock: clock, log: log}
	defer w.device.close()
	for pause(ctx, watchEvery) {
		n, err := b.Read()
		if err != nil || !n.watches() {
			return err
		}
		w.look(n)
	}
	return nil
}

type watchdog struct {
	board  *Board
	proc   string // where /proc is mounted
	clock  Clock
	device device
	log    *slog.Logger
}

// look does what is to be done now. The hardware watchdog is fed only while the lease holds or nothing of the instances runs any more.
func (w *watchdog) look(n Notice) {
	var left int
	if w.clock() >= n.Until+n.Grace {
		left = w.kill(n.Instances, true)
	}
	if left += w.kill(n.Barred, false); left > 0 {
		return
	}
	if err := w.device.feed(n.Device, n.Stop); err != nil {
		w.log.Warn("feed the hardware watchdog", "err", err)
	}
}

// kill ends the QEMUs of instances and returns how many there were, since one that was killed may not be gone yet. ours are those that are to be
// started again if nobody else did.
func (w *watchdog) kill(ids []cluster.InstanceID, ours bool) int {
	if len(ids) == 0 {
		return 0
	}
	running, err := processes(w.proc, ids)
	if err != nil {
		w.log.Error("look for guests", "err", err)
		return len(ids)
	}
	if len(running) == 0 {
		return 0
	}
	var fenced []cluster.InstanceID
	for _, p := range running {
		fenced = append(fenced, p.id)
	}
	why := "an order to start this guest was carried out when it was no longer this node's"
	if ours {
		why = "the lease is over and the daemon did not end this guest"
		if err := w.board.Fence(fenced); err != nil {
			w.log.Warn("note what is fenced", "err", err)
		}
	}
	for _, p := range running {
		w.log.Warn(why, "instance", p.id, "pid", p.pid)
		if err := p.kill(); err != nil {
			w.log.Error("kill a guest", "instance", p.id, "pid", p.pid, "err", err)
		}
	}
	return len(running)
}

// process is the QEMU of an instance.
type process struct {
	id  cluster.InstanceID
	pid int
	dir string // in /proc
}

// processes finds the QEMUs of instances by their command lines, as libvirt writes them.
func processes(proc string, ids []cluster.InstanceID) ([]process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]cluster.InstanceID, len(ids))
	for _, id := range ids {
		wanted[string(id)] = id
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join(proc, e.Name())
		if id, ok := wanted[guestOf(dir)]; ok {
			found = append(found, process{id, pid, dir})
		}
	}
	return found, nil
}

// guestOf gives the UUID of the guest that a process is the QEMU of; "" when it is none.
func guestOf(dir string) string {
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "" // it has ended
	}
	args := bytes.Split(line, []byte{0})
	if !strings.Contains(filepath.Base(string(args[0])), "qemu") {
		return ""
	}
	for i, arg := range args[:len(args)-1] {
		if string(arg) == "-uuid" {
			return string(args[i+1])
		}
	}
	return ""
}

// kill ends the process, and no other that has its number by now.
func (p process) kill() error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.pid, err)
	}
	defer unix.Close(fd)
	if guestOf(p.dir) != string(p.id) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	return nil
}
