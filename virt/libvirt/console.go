package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

const (
	// consoleKeep is how many bytes of serial output a full log file holds; a guest has at most two of ours,
	// so that it cannot fill its host's disk. (Where virtlogd writes the log it keeps up to three older files
	// of 2 MiB by its own default; Console reads those too.)
	consoleKeep = 1 << 20
	// housekeepEvery is how often the logs are looked at; a guest can exceed the limit that long.
	housekeepEvery = 3 * time.Second
	// maxRotated bounds how many older files Console looks for.
	maxRotated = 10
)

// Console opens the guest's serial output, oldest first, up to its present end.
func (d *Driver) Console(_ context.Context, id cluster.InstanceID) (io.ReadCloser, error) {
	p, err := d.store.at(id)
	if err != nil {
		return nil, fmt.Errorf("open console: %w", err)
	}
	there, err := exists(p.dir)
	if err != nil {
		return nil, fmt.Errorf("open console of %s: %w", id, err)
	}
	if !there {
		return nil, fmt.Errorf("open console of %s: %w", id, virt.ErrNotFound)
	}
	c := &consoleReader{}
	for i := maxRotated; i >= 0; i-- {
		name := p.console()
		if i > 0 {
			name = rotated(name, i-1)
		}
		if err := c.add(name); err != nil {
			return nil, errors.Join(fmt.Errorf("open console of %s: %w", id, err), c.Close())
		}
	}
	c.Reader = io.MultiReader(c.parts...)
	return c, nil
}

// rotated names the i-th older file, 0 being the newest, as virtlogd does.
func rotated(path string, i int) string { return path + "." + strconv.Itoa(i) }

// consoleReader reads the files of one log one after the other.
type consoleReader struct {
	io.Reader
	parts []io.Reader
	files []*os.File
}

func (c *consoleReader) add(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c.files = append(c.files, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c.parts = append(c.parts, io.LimitReader(f, info.Size()))
	return nil
}

// Close closes the files.
func (c *consoleReader) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// housekeep finishes interrupted removals, and bounds the console logs until ctx ends.
func (d *Driver) housekeep(ctx context.Context) {
	if err := d.store.purge(); err != nil {
		d.log.Warn("leftovers of removed instances stay on disk", "err", err)
	}
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.store.boundConsoles(consoleKeep); err != nil {
				d.log.Warn("console logs cannot be bounded", "err", err)
			}
		}
	}
}

// boundConsoles rotates every log that holds more than limit bytes.
func (s store) boundConsoles(limit int64) error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), removedPrefix) {
			continue
		}
		path := filepath.Join(s.root, e.Name(), consoleFile)
		if info, err := os.Stat(path); err == nil && info.Size() > limit {
			errs = append(errs, rotate(path, limit))
		}
	}
	return errors.Join(errs...)
}

// rotate keeps the last limit bytes of a log as its newest older file and empties it. QEMU holds the file open
// and appends, so the file itself stays; what it writes between the copy and the cut is lost. When the copy
// cannot be kept, on a full disk, the log is emptied all the same.
func rotate(path string, limit int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(keepTail(f, path, limit), f.Truncate(0))
}

// keepTail copies the last limit bytes of f, the log at path, to its newest older file.
func keepTail(f *os.File, path string, limit int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	older, err := os.CreateTemp(filepath.Dir(path), consoleFile+".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(older.Name())
	defer older.Close()
	tail := io.NewSectionReader(f, max(0, info.Size()-limit), limit)
	if _, err := io.Copy(older, tail); err != nil {
		return err
	}
	return os.Rename(older.Name(), rotated(path, 0))
}
