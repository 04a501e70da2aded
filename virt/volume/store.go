package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kilonova/kilonova/virt/disk"
)

const (
	folder   = "volumes"   // below the data directory, and below the shared one
	diskFile = "disk"      // a volume's
	snapFile = "snapshot." // a snapshot's, before its format

	// dirMode lets QEMU, which is not root, reach its guests' disks, and nobody list them.
	dirMode = 0o711
)

// ErrNoShare says that this node does not have the directory that a shared volume is in.
var ErrNoShare = errors.New("this node has no directory for shared volumes: see --shared-dir")

// Store is the volumes that a node reaches.
type Store struct {
	local string
	share share
}

// Open makes the places where they are missing. shared, when it is set, is a directory that other nodes have, too. It is no error that it
// cannot be used (ShareTrouble says why): guests on local disks run all the same.
func Open(dataDir, shared, clusterID string) (*Store, error) {
	s := &Store{local: filepath.Join(dataDir, folder)}
	if err := os.MkdirAll(s.local, dirMode); err != nil {
		return nil, fmt.Errorf("make the directory for volumes: %w", err)
	}
	var err error
	if s.share, err = openShare(dataDir, shared, clusterID); err != nil {
		return nil, err
	}
	if s.Shares() {
		err = s.makeShared()
	}
	return s, err
}

func (s *Store) makeShared() error {
	if err := os.MkdirAll(s.sharedFolder(), dirMode); err != nil {
		return fmt.Errorf("make the directory for shared volumes: %w", err)
	}
	return nil
}

func (s *Store) sharedFolder() string { return filepath.Join(s.share.dir, folder) }

// Volume names a volume, and where its file is.
type Volume struct {
	ID     string
	Shared bool
	Secret []byte // passphrase of an encrypted one; nil: it is not encrypted
	By     Tenure // by what right it is worked on; not needed to find it
}

// Snapshot names a snapshot, and where its file is.
type Snapshot struct {
	ID     string
	Shared bool
	Format string // raw or qcow2
	By     Tenure // as of a volume
}

func (s *Store) dir(id string, shared bool) (string, error) {
	if id == "" || id == "." || id == ".." || strings.ContainsAny(id, "/\x00") {
		return "", fmt.Errorf("%q cannot name a volume", id)
	}
	if !shared {
		return filepath.Join(s.local, id), nil
	}
	if !s.Shares() {
		return "", ErrNoShare
	}
	return filepath.Join(s.sharedFolder(), id), nil
}

// Path is where a volume's file is or will be. It is for the hypervisor.
func (s *Store) Path(v Volume) (string, error) {
	dir, err := s.dir(v.ID, v.Shared)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, diskFile), nil
}

// SnapshotPath is where a snapshot's file is or will be.
func (s *Store) SnapshotPath(n Snapshot) (string, error) {
	dir, err := s.dir(n.ID, n.Shared)
	if err != nil {
		return "", err
	}
	if n.Format != string(disk.Raw) && n.Format != string(disk.QCOW2) {
		return "", fmt.Errorf("a snapshot in format %q is not supported", n.Format)
	}
	return filepath.Join(dir, snapFile+n.Format), nil
}

// prepare makes the directory of a path. Nobody else comes in before what is made in it is finished.
func prepare(path string) error {
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(filepath.Dir(path)))
}

// finish lets QEMU reach a file, and nobody else read it: the hypervisor gives it to the guest's own user.
func finish(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, info.Mode().Perm()&^0o077); err != nil {
		return err
	}
	return os.Chmod(filepath.Dir(path), dirMode)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Size is how large a volume is for its guest, in bytes. The error wraps fs.ErrNotExist when it has no file.
func (s *Store) Size(ctx context.Context, v Volume) (int64, error) {
	path, err := s.Path(v)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return 0, err
	case v.Secret != nil:
		return disk.SizeLUKS(ctx, path)
	}
	return info.Size(), nil
}

// Remove deletes the files of a volume or of a snapshot. What is not there is not an error.
func (s *Store) Remove(ctx context.Context, id string, shared bool, by Tenure) error {
	dir, err := s.dir(id, shared)
	if err == nil {
		err = by.holds(ctx)
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove volume %s: %w", id, err)
	}
	return syncDir(filepath.Dir(dir))
}
