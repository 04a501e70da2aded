package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// How long the program that writes a replica may take to come up, and how often that is looked at.
const (
	serveTimeout = 10 * time.Second
	servePoll    = 10 * time.Millisecond
)

// maxComplaint is how much of what that program says is kept, in bytes.
const maxComplaint = 4 << 10

// MakeReplica makes an empty root disk for an epoch.
func (d *Driver) MakeReplica(ctx context.Context, id cluster.InstanceID, epoch uint64, root virt.RootDisk) error {
	if err := d.makeReplica(ctx, id, epoch, root); err != nil {
		return fmt.Errorf("make replica of %s: %w", id, err)
	}
	return nil
}

func (d *Driver) makeReplica(ctx context.Context, id cluster.InstanceID, epoch uint64, root virt.RootDisk) error {
	path, err := d.replicaPath(ctx, id, epoch)
	if err != nil {
		return err
	}
	at, err := d.store.at(id)
	if err != nil {
		return err
	}
	if err := errors.Join(at.make(epoch), removeFile(path)); err != nil {
		return err
	}
	return d.makeOverlay(ctx, path, root)
}

// replicaPath is where the replica of an epoch lies. A domain that uses it is an error.
func (d *Driver) replicaPath(ctx context.Context, id cluster.InstanceID, epoch uint64) (string, error) {
	at, err := d.store.at(id)
	if err != nil {
		return "", err
	}
	path := at.disk(epoch, virt.DiskRoot)
	used, _, err := d.usedFiles(ctx, id)
	if err == nil && used[path] {
		err = fmt.Errorf("its domain uses %s", path)
	}
	return path, err
}

// ServeReplica takes what a mirror sends into a replica. QEMU's own server writes the file: it locks it, so that no guest can have it open at
// the same time, and puts each write on the disk before it answers, so that what was answered outlasts a loss of power here, too.
func (d *Driver) ServeReplica(ctx context.Context, id cluster.InstanceID, epoch uint64) (net.Conn, error) {
	conn, err := d.serveReplica(ctx, id, epoch)
	if err != nil {
		return nil, fmt.Errorf("serve replica of %s: %w", id, err)
	}
	return conn, nil
}

func (d *Driver) serveReplica(ctx context.Context, id cluster.InstanceID, epoch uint64) (net.Conn, error) {
	path, err := d.replicaPath(ctx, id, epoch)
	if err != nil {
		return nil, err
	}
	if there, err := exists(path); err != nil || !there {
		return nil, errors.Join(err, virt.ErrNotFound)
	}
	j, err := d.jail(ctx)
	if err == nil {
		j, err = j.forFile(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	return serveNBD(ctx, j, "--format=qcow2", "--cache=writethrough", "--discard=unmap", "--", path)
}

// nothing is a disk that forgets what is written to it, larger than any.
var nothing = fmt.Sprintf("driver=null-co,read-zeroes=on,size=%d", int64(1)<<60)

// Discard takes what a mirror sends, and keeps nothing.
func (d *Driver) Discard(ctx context.Context) (net.Conn, error) {
	var conn net.Conn
	j, err := d.jail(ctx)
	if err == nil {
		conn, err = serveNBD(ctx, j, "--image-opts", "--", nothing)
	}
	if err != nil {
		return nil, fmt.Errorf("discard what a mirror sends: %w", err)
	}
	return conn, nil
}

// serveNBD connects to QEMU's own server, which ends with the connection.
func serveNBD(ctx context.Context, j jail, args ...string) (net.Conn, error) {
	dir, err := os.MkdirTemp("", "kilonova-nbd-") // a short name: a socket's path has little room
	if err != nil {
		return nil, err
	}
	s := &served{dir: dir, done: make(chan struct{})}
	socket := filepath.Join(dir, "s")
	s.cmd, err = j.command("qemu-nbd", append([]string{"--socket=" + socket, "--export-name=" + mirrorExport, "--shared=1"}, args...)...)
	if err == nil {
		err = j.give(dir)
	}
	if err == nil {
		s.cmd.Stderr = &s.complaint
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() { defer close(s.done); s.ended = s.cmd.Wait() }()
	if s.Conn, err = s.connect(ctx, socket); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// served is a connection to a program that writes a replica, and the program.
type served struct {
	net.Conn
	answers nbdAnswers

	dir       string
	cmd       *exec.Cmd
	complaint headOf
	done      chan struct{} // closed when the program has ended
	ended     error
	once      sync.Once
}

func (s *served) connect(ctx context.Context, socket string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		select {
		case <-s.done:
			return nil, fmt.Errorf("qemu-nbd ended: %w: %s", errors.Join(s.ended, errors.New("too soon")), strings.TrimSpace(s.complaint.text()))
		case <-ctx.Done():
			return nil, fmt.Errorf("qemu-nbd does not come up: %w", ctx.Err())
		case <-time.After(servePoll):
		}
	}
}

// Read gives what the program answers, up to the first error among its answers: that is not passed on, because QEMU at the other end would
// give the mirror up and let the guest go on without it, before anybody has said that the replica lacks something.
func (s *served) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if bad := s.answers.take(p[:n]); bad != nil {
		s.Conn.Close()
		return 0, fmt.Errorf("write to the replica: %w", bad)
	}
	return n, err
}

// Close ends the program. What it has not answered may be written or not.
func (s *served) Close() error {
	s.once.Do(func() {
		if s.Conn != nil {
			s.Conn.Close()
		}
		_ = s.cmd.Process.Kill() // it has ended already, or does now
		<-s.done
		_ = os.RemoveAll(s.dir)
	})
	return nil
}

// headOf keeps the beginning of what a program says.
type headOf struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

// Write keeps what there is room for.
func (h *headOf) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept.Write(p[:min(len(p), max(0, maxComplaint-h.kept.Len()))])
	return len(p), nil
}

func (h *headOf) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strconv.QuoteToASCII(h.kept.String())
}
