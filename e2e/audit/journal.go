package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// Entry is a line of the file in which a simulated host keeps its records: what it holds of an instance from now on. Only what the
// checks look at is read.
type Entry struct {
	ID     string `json:"id"`
	Record *Held  `json:"record"` // nil: nothing any more
}

// Held is what a host holds of an instance.
type Held struct {
	Defined bool       `json:"defined"`
	Stamp   virt.Stamp `json:"stamp"`
	Power   virt.Power `json:"power"`
	Saved   bool       `json:"saved"`
	Boots   []Boot     `json:"boots"`
	Storage struct {
		Epoch   uint64 `json:"epoch"`
		Files   []File `json:"files"`
		Volumes []struct {
			ID string `json:"id"`
		} `json:"volumes"`
	} `json:"storage"`
}

// Boot is one time that a guest was on. It lasts over a pause, saved memory and a live migration.
type Boot struct {
	On    time.Time     `json:"on"`
	Off   time.Time     `json:"off"`
	Ran   time.Duration `json:"ran"`   // before Since
	Since time.Time     `json:"since"` // when its processors last began to run; zero: they do not
}

// File is a disk of the instance's own.
type File struct {
	Epoch uint64      `json:"epoch"`
	ID    virt.DiskID `json:"id"`
	Notes struct {
		Boots int `json:"boots"` // how often it was booted
	} `json:"notes"`
}

// Last is the latest boot; zero: there was none.
func (h *Held) Last() Boot {
	if h == nil || len(h.Boots) == 0 {
		return Boot{}
	}
	return h.Boots[len(h.Boots)-1]
}

// Runs tells whether the processors of the guest run.
func (h *Held) Runs() bool {
	return h != nil && h.Power == virt.PowerRunning && !h.Last().Since.IsZero()
}

// Root is the root disk of the domain; nil: it has none of its own.
func (h *Held) Root() *File { return h.Disk(virt.DiskRoot) }

// Disk is a disk of the domain, of the epoch that it has now; nil: it has none.
func (h *Held) Disk(id virt.DiskID) *File {
	if h == nil {
		return nil
	}
	for i, f := range h.Storage.Files {
		if f.Epoch == h.Storage.Epoch && f.ID == id {
			return &h.Storage.Files[i]
		}
	}
	return nil
}

// tail reads a host's file while the host writes it. Now and then the host puts a shorter one in its place, which is noticed after the
// last line of the longer one was read. It is not safe for concurrent use.
type Tail struct {
	Path string // may change while the tail is parked
	f    *os.File
	in   *bufio.Reader
	part []byte // a line that is not whole yet
	mark mark   // where it was parked
}

// mark is a place in a file. The number of the file's device is no part of it: it may be another one when a disk is mounted again.
type mark struct {
	inode  uint64
	offset int64
}

// Read gives each new line to take.
func (t *Tail) Read(take func(Entry)) error {
	for {
		if t.f == nil {
			f, err := os.Open(t.Path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			t.f, t.in, t.part = f, bufio.NewReader(f), nil
			if err := t.resume(); err != nil {
				return err
			}
		}
		replaced, err := t.replaced()
		if err != nil {
			return err
		}
		if err := t.lines(take); err != nil || !replaced {
			return err
		}
		t.Close()
	}
}

// lines reads what there is.
func (t *Tail) lines(take func(Entry)) error {
	for {
		line, err := t.in.ReadBytes('\n')
		t.part = append(t.part, line...)
		if err == io.EOF {
			return t.torn()
		}
		if err != nil {
			return err
		}
		var e Entry
		if err := json.Unmarshal(bytes.TrimSpace(t.part), &e); err != nil {
			return fmt.Errorf("read %s: %w", t.Path, err)
		}
		t.part = t.part[:0]
		take(e)
	}
}

// torn takes care of a line whose writer died: its successor cuts it off and writes over it.
func (t *Tail) torn() error {
	if len(t.part) == 0 {
		return nil
	}
	at, err := t.f.Seek(-int64(len(t.part)), io.SeekCurrent)
	t.part = t.part[:0]
	t.in.Reset(t.f)
	if err != nil {
		return fmt.Errorf("read %s again from %d: %w", t.Path, at, err)
	}
	return nil
}

// replaced tells whether another file has the name by now.
func (t *Tail) replaced() (bool, error) {
	mine, err := t.f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(t.Path)
	if err != nil {
		return false, err
	}
	return !os.SameFile(mine, now), nil
}

// Park lets go of the file, so that its disk can be unmounted, and goes on from there at the next Read.
func (t *Tail) Park() error {
	if t.f == nil {
		return nil
	}
	defer t.Close()
	info, err := t.f.Stat()
	if err != nil {
		return err
	}
	at, err := t.f.Seek(0, io.SeekCurrent) // behind the last whole line: nothing is buffered between two reads
	if err != nil {
		return err
	}
	t.mark = mark{info.Sys().(*syscall.Stat_t).Ino, at}
	return nil
}

// resume goes to where the tail was parked, unless a shorter file has taken the place of that one.
func (t *Tail) resume() error {
	was := t.mark
	t.mark = mark{}
	info, err := t.f.Stat()
	if err != nil || info.Sys().(*syscall.Stat_t).Ino != was.inode || info.Size() < was.offset {
		return err
	}
	_, err = t.f.Seek(was.offset, io.SeekStart)
	return err
}

// Close lets go of the file. The next Read begins anew.
func (t *Tail) Close() {
	if t.f != nil {
		t.f.Close()
		t.f = nil
	}
}
