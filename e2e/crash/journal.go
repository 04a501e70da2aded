package crash

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// entry is a line of the file in which a simulated host keeps its records: what it holds of an instance from now on. Only what the
// checks look at is read.
type entry struct {
	ID     string `json:"id"`
	Record *held  `json:"record"` // nil: nothing any more
}

// held is what a host holds of an instance.
type held struct {
	Defined bool       `json:"defined"`
	Stamp   virt.Stamp `json:"stamp"`
	Power   virt.Power `json:"power"`
	Saved   bool       `json:"saved"`
	Boots   []boot     `json:"boots"`
	Storage struct {
		Epoch   uint64 `json:"epoch"`
		Files   []file `json:"files"`
		Volumes []struct {
			ID string `json:"id"`
		} `json:"volumes"`
	} `json:"storage"`
}

// boot is one time that a guest was on. It lasts over a pause, saved memory and a live migration.
type boot struct {
	On    time.Time     `json:"on"`
	Off   time.Time     `json:"off"`
	Ran   time.Duration `json:"ran"`   // before Since
	Since time.Time     `json:"since"` // when its processors last began to run; zero: they do not
}

// file is a disk of the instance's own.
type file struct {
	Epoch uint64      `json:"epoch"`
	ID    virt.DiskID `json:"id"`
	Notes struct {
		Boots int `json:"boots"` // how often it was booted
	} `json:"notes"`
}

// last is the latest boot; zero: there was none.
func (h *held) last() boot {
	if h == nil || len(h.Boots) == 0 {
		return boot{}
	}
	return h.Boots[len(h.Boots)-1]
}

// runs tells whether the processors of the guest run.
func (h *held) runs() bool {
	return h != nil && h.Power == virt.PowerRunning && !h.last().Since.IsZero()
}

// root is the root disk of the domain; nil: it has none of its own.
func (h *held) root() *file { return h.disk(virt.DiskRoot) }

func (h *held) disk(id virt.DiskID) *file {
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
// last line of the longer one was read.
type tail struct {
	path string
	f    *os.File
	in   *bufio.Reader
	part []byte // a line that is not whole yet
}

// read gives each new line to take.
func (t *tail) read(take func(entry)) error {
	for {
		if t.f == nil {
			f, err := os.Open(t.path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			t.f, t.in, t.part = f, bufio.NewReader(f), nil
		}
		replaced, err := t.replaced()
		if err != nil {
			return err
		}
		if err := t.lines(take); err != nil || !replaced {
			return err
		}
		t.close()
	}
}

// lines reads what there is.
func (t *tail) lines(take func(entry)) error {
	for {
		line, err := t.in.ReadBytes('\n')
		t.part = append(t.part, line...)
		if err == io.EOF {
			return t.torn()
		}
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(bytes.TrimSpace(t.part), &e); err != nil {
			return fmt.Errorf("read %s: %w", t.path, err)
		}
		t.part = t.part[:0]
		take(e)
	}
}

// torn takes care of a line whose writer died: its successor cuts it off and writes over it.
func (t *tail) torn() error {
	if len(t.part) == 0 {
		return nil
	}
	at, err := t.f.Seek(-int64(len(t.part)), io.SeekCurrent)
	t.part = t.part[:0]
	t.in.Reset(t.f)
	if err != nil {
		return fmt.Errorf("read %s again from %d: %w", t.path, at, err)
	}
	return nil
}

// replaced tells whether another file has the name by now.
func (t *tail) replaced() (bool, error) {
	mine, err := t.f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(t.path)
	if err != nil {
		return false, err
	}
	return !os.SameFile(mine, now), nil
}

func (t *tail) close() {
	if t.f != nil {
		t.f.Close()
		t.f = nil
	}
}
