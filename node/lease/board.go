package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kilonova/kilonova/cluster"
)

// The files of a board.
const (
	noticeFile = "lease.json"
	fencedFile = "fenced"
	lockFile   = "watchdog.lock"
)

// Notice is what a daemon lets its watchdog know.
type Notice struct {
	Until     time.Duration        `json:"until"` // by BootTime; when the lease ends
	Grace     time.Duration        `json:"grace"` // after that, the daemon's own time to end the instances
	Stop      time.Duration        `json:"stop"`  // how long a whole lease is
	Boot      string               `json:"boot"`  // of the machine: another one has another BootTime
	Kill      time.Duration        `json:"kill"`
	Device    string               `json:"device"` // hardware watchdog to be fed while all is well; "": none
	Instances []cluster.InstanceID `json:"instances"`

	// Instances that the hypervisor was told to start here, and that are not this node's any more: their guests are ended whatever the lease is.
	Barred []cluster.InstanceID `json:"barred,omitempty"`
	Orders []Order              `json:"orders,omitempty"` // for a later daemon
}

// watches tells whether there is anything for a watchdog to do, or may be.
func (n *Notice) watches() bool { return len(n.Instances)+len(n.Barred) > 0 }

// Board is a directory, best in memory, over which a daemon and its watchdog tell each other what the other may not live to say.
// It is safe for concurrent use.
type Board struct {
	dir string
	mu  sync.Mutex // for appending
}

// OpenBoard opens a board, and makes its directory if there is none.
func OpenBoard(dir string) (*Board, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the board for the watchdog: %w", err)
	}
	return &Board{dir: dir}, nil
}

// Dir is where the board is.
func (b *Board) Dir() string { return b.dir }

// Post replaces the notice.
func (b *Board) Post(n Notice) error {
	text, err := json.Marshal(n)
	if err == nil {
		err = replace(filepath.Join(b.dir, noticeFile), text)
	}
	if err != nil {
		return fmt.Errorf("tell the watchdog of the lease: %w", err)
	}
	return nil
}

// Read gives the notice; fs.ErrNotExist when there is none.
func (b *Board) Read() (Notice, error) {
	var n Notice
	text, err := os.ReadFile(filepath.Join(b.dir, noticeFile))
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err != nil {
		return n, fmt.Errorf("read the lease: %w", err)
	}
	return n, nil
}

// Fence notes instances that are about to be ended because the lease is over, so that nobody takes them for having powered themselves off.
func (b *Board) Fence(ids []cluster.InstanceID) error {
	if len(ids) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(b.dir, fencedFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note what is fenced: %w", err)
	}
	var lines strings.Builder
	for _, id := range ids {
		lines.WriteString(string(id) + "\n")
	}
	_, err = f.WriteString(lines.String())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note what is fenced: %w", err)
	}
	return nil
}

// Fenced lists what was noted and not forgotten.
func (b *Board) Fenced() ([]cluster.InstanceID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fenced()
}

func (b *Board) fenced() ([]cluster.InstanceID, error) {
	text, err := os.ReadFile(filepath.Join(b.dir, fencedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is fenced: %w", err)
	}
	var ids []cluster.InstanceID
	for line := range strings.Lines(string(text)) {
		ids = append(ids, cluster.InstanceID(strings.TrimSpace(line)))
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// Forget drops an instance from what is fenced.
func (b *Board) Forget(id cluster.InstanceID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids, err := b.fenced()
	if err != nil {
		return err
	}
	var rest strings.Builder
	for _, other := range ids {
		if other != id {
			rest.WriteString(string(other) + "\n")
		}
	}
	if err := replace(filepath.Join(b.dir, fencedFile), []byte(rest.String())); err != nil {
		return fmt.Errorf("forget what was fenced: %w", err)
	}
	return nil
}

// Lock is for the watchdog: there is one at most. The lock goes with its process. ok is false when another has it.
func (b *Board) Lock() (release func(), ok bool, err error) {
	f, err := os.OpenFile(filepath.Join(b.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("lock the board: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, false, f.Close()
	}
	if err != nil {
		f.Close()
		return nil, false, fmt.Errorf("lock the board: %w", err)
	}
	return func() { f.Close() }, true, nil
}

// Watched tells whether a watchdog has the board.
func (b *Board) Watched() bool {
	release, ok, err := b.Lock()
	if ok {
		release()
	}
	return err == nil && !ok
}

// replace writes a file so that whoever reads it sees the old or the new one. It is for files in memory: nothing is synced.
func replace(path string, text []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
