package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

// The bounds of the record file. A change is one line; when the lines are many more than the domains, the
// file is written anew.
const (
	maxLine      = 1 << 20 // bytes
	spareLines   = 1024
	linesPerLive = 4
)

// entry is a line of the record file: the record of an instance from now on, or, without one, its end.
type entry struct {
	ID     cluster.InstanceID `json:"id"`
	Boot   string             `json:"boot,omitempty"` // the host's boot at the time
	Record *record            `json:"record,omitempty"`
}

// journal is an append-only file of entries, one JSON object a line. It outlives a kill of the process at any
// point: a line without its end was not acknowledged and is cut off when the file is opened again.
type journal struct {
	path  string
	f     *os.File
	lines int
	torn  bool // a write failed in the middle of a line
}

// openJournal reads the file and prepares it for more. A line that is whole and yet not an entry is an error,
// since what stood there is not known.
func openJournal(path string) (*journal, map[cluster.InstanceID]record, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	records, lines, whole, err := parseJournal(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := f.Truncate(whole); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &journal{path: path, f: f, lines: lines}, records, nil
}

// parseJournal gives the last record of each instance, the number of whole lines and their length in bytes.
func parseJournal(data []byte) (records map[cluster.InstanceID]record, lines int, whole int64, err error) {
	records = make(map[cluster.InstanceID]record)
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return records, lines, whole, nil
		}
		lines++
		if end > maxLine {
			return nil, 0, 0, fmt.Errorf("line %d is longer than %d bytes", lines, maxLine)
		}
		var e entry
		if err := json.Unmarshal(data[:end], &e); err != nil {
			return nil, 0, 0, fmt.Errorf("line %d: %w", lines, err)
		}
		if e.ID == "" {
			return nil, 0, 0, fmt.Errorf("line %d names no instance", lines)
		}
		if e.Record == nil {
			delete(records, e.ID)
		} else {
			if err := e.Record.upgrade(); err != nil {
				return nil, 0, 0, fmt.Errorf("line %d: %w", lines, err)
			}
			e.Record.boot = e.Boot
			records[e.ID] = *e.Record
		}
		data, whole = data[end+1:], whole+int64(end)+1
	}
}

// write appends an entry. After an error nothing of it is kept.
func (j *journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if len(line) > maxLine {
		return fmt.Errorf("a record of %d bytes is too long", len(line))
	}
	if j.torn {
		return fmt.Errorf("%s: an earlier write was cut short and could not be undone", j.path)
	}
	if n, err := j.f.Write(line); err != nil {
		if n > 0 {
			j.torn = j.cut(int64(n)) != nil
		}
		return err
	}
	j.lines++
	return nil
}

// cut takes the last n bytes off.
func (j *journal) cut(n int64) error {
	size, err := j.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return j.f.Truncate(size - n)
}

func (j *journal) crowded(live int) bool { return j.lines > spareLines+linesPerLive*live }

// rewrite replaces the file by one line per record. The old file stays until the new one is on disk.
func (j *journal) rewrite(records map[cluster.InstanceID]record, boot string) error {
	temp, err := os.CreateTemp(filepath.Dir(j.path), filepath.Base(j.path)+".*.tmp")
	if err != nil {
		return err
	}
	if err := errors.Join(fill(temp, records, boot), temp.Close()); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	if err := os.Rename(temp.Name(), j.path); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	old := j.f
	j.f, j.lines, j.torn = f, len(records), false
	return old.Close()
}

func fill(f *os.File, records map[cluster.InstanceID]record, boot string) error {
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, id := range slices.Sorted(maps.Keys(records)) {
		r := records[id]
		if err := enc.Encode(entry{ID: id, Boot: boot, Record: &r}); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// close closes the file, if there is one.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.f.Close()
}
