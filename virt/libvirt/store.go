package libvirt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// The names below the data directory.
const (
	instancesDir  = "instances"
	disksPrefix   = "disks-" // and the epoch: the directory of the disks that were made for it
	legacyFile    = "disk"   // the root disk as versions before 0.2 placed it
	configFile    = "disk.config"
	configSumFile = "disk.config.sha256"
	consoleFile   = "console.log"
	nvramFile     = "nvram.fd"
	serialFile    = "serial.sock"
	captureFile   = "capture.qcow2"
	removedPrefix = ".removed-" // a directory whose deletion has begun
)

// dirMode lets QEMU's own user pass through, but not look around.
const dirMode fs.FileMode = 0o711

// store lays out the files of the instances below one directory.
type store struct{ root string }

// prepare makes the directory and opens it to QEMU's user.
func (s store) prepare() error {
	if err := os.MkdirAll(s.root, dirMode); err != nil {
		return err
	}
	return os.Chmod(s.root, dirMode) // whatever the umask made of it
}

// place is where one instance's files are.
type place struct{ dir string }

// at gives an instance's place. Only a UUID in canonical form becomes a path.
func (s store) at(id cluster.InstanceID) (place, error) {
	if _, err := parseID(id); err != nil {
		return place{}, err
	}
	return place{dir: filepath.Join(s.root, string(id))}, nil
}

// parseID accepts UUIDs as Kilonova writes them: lower case, with hyphens.
func parseID(id cluster.InstanceID) (uuid.UUID, error) {
	u, err := uuid.Parse(string(id))
	if err != nil || u.String() != string(id) {
		return uuid.UUID{}, fmt.Errorf("instance ID %q is not a UUID in canonical form", id)
	}
	return u, nil
}

// disks is the directory of the disks that were made for an epoch.
func (p place) disks(epoch uint64) string {
	return filepath.Join(p.dir, disksPrefix+strconv.FormatUint(epoch, 10))
}

// disk is one of them.
func (p place) disk(epoch uint64, id virt.DiskID) string {
	return filepath.Join(p.disks(epoch), string(id))
}

func (p place) legacy() string    { return filepath.Join(p.dir, legacyFile) }
func (p place) serial() string    { return filepath.Join(p.dir, serialFile) }
func (p place) capture() string   { return filepath.Join(p.dir, captureFile) }
func (p place) config() string    { return filepath.Join(p.dir, configFile) }
func (p place) configSum() string { return filepath.Join(p.dir, configSumFile) }
func (p place) console() string   { return filepath.Join(p.dir, consoleFile) }
func (p place) nvram() string     { return filepath.Join(p.dir, nvramFile) }

// make makes the instance's directory, and that for the disks of an epoch.
func (p place) make(epoch uint64) error {
	for _, dir := range []string{p.dir, p.disks(epoch)} {
		if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(dir, dirMode); err != nil {
			return err
		}
	}
	return nil
}

// epochs lists, ascending, those that the instance has disks of.
func (p place) epochs() ([]uint64, error) {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []uint64
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), disksPrefix)
		if n, err := strconv.ParseUint(number, 10, 64); ours && err == nil && e.IsDir() {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, err
}

// adopt gives a root disk where versions before 0.2 placed it its place among those of the epoch that its domain is
// of. It keeps its old name too, under which a domain may be running.
func (p place) adopt(epoch uint64) error {
	there, err := exists(p.legacy())
	if err != nil || !there {
		return err
	}
	if known, err := p.epochs(); err != nil || len(known) > 0 {
		return err
	}
	if err := p.make(epoch); err != nil {
		return err
	}
	if err := os.Link(p.legacy(), p.disk(epoch, virt.DiskRoot)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// remove takes a directory of an instance's away: first out of sight in one step, then from the disk. What a crash
// leaves is found by purge.
func (s store) remove(dir string) error {
	there, err := exists(dir)
	if err != nil || !there {
		return err
	}
	gone, err := os.MkdirTemp(s.root, removedPrefix)
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(gone, "x")); err != nil {
		return errors.Join(err, os.Remove(gone))
	}
	return os.RemoveAll(gone)
}

// purge finishes removals that a crash interrupted.
func (s store) purge() error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), removedPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(s.root, e.Name())))
		}
	}
	return errors.Join(errs...)
}
