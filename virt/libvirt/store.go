package libvirt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
)

// The names below the data directory.
const (
	instancesDir  = "instances"
	diskFile      = "disk"
	configFile    = "disk.config"
	configSumFile = "disk.config.sha256"
	consoleFile   = "console.log"
	nvramFile     = "nvram.fd"
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

func (p place) disk() string      { return filepath.Join(p.dir, diskFile) }
func (p place) config() string    { return filepath.Join(p.dir, configFile) }
func (p place) configSum() string { return filepath.Join(p.dir, configSumFile) }
func (p place) console() string   { return filepath.Join(p.dir, consoleFile) }
func (p place) nvram() string     { return filepath.Join(p.dir, nvramFile) }

// make makes the instance's directory.
func (p place) make() error {
	if err := os.Mkdir(p.dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(p.dir, dirMode)
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// remove takes an instance's directory away: first out of sight in one step, then from the disk. What a crash
// leaves is found by purge.
func (s store) remove(id cluster.InstanceID) error {
	p, err := s.at(id)
	if err != nil {
		return err
	}
	there, err := exists(p.dir)
	if err != nil || !there {
		return err
	}
	gone, err := os.MkdirTemp(s.root, removedPrefix+string(id)+"-")
	if err != nil {
		return err
	}
	if err := os.Rename(p.dir, filepath.Join(gone, "x")); err != nil {
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
