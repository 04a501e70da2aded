package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	marker     = "kilonova-cluster" // in a shared directory: the ID of the cluster that it belongs to
	after      = marker + ".after." // before a cluster's ID: the cluster that has the directory after that one
	seenBefore = "shared-dir"       // in the data directory: the shared directory that was there once
	maxOwner   = 128                // bytes of an ID
)

// share is a directory that other nodes have, too. A marker in it says of which cluster, so that two clusters never take each other's
// volumes for their own, and one that is not mounted is noticed: it has no marker.
type share struct {
	dir     string // "": there is none
	cluster string
}

// openShare marks a directory that nobody had yet. One that this node has seen before is never marked anew: what is missing then is the
// file system. One of another cluster stays as it is, and is not used.
func openShare(dataDir, dir, clusterID string) (share, error) {
	if dir == "" {
		return share{}, nil
	}
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return share{}, fmt.Errorf("the shared directory %q is not a clean absolute path", dir)
	}
	s := share{dir: dir, cluster: clusterID}
	seen, err := os.ReadFile(filepath.Join(dataDir, seenBefore))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return share{}, fmt.Errorf("open the shared directory: %w", err)
	}
	if string(seen) == dir {
		return s, nil
	}
	if err := claim(filepath.Join(dir, marker), clusterID); err != nil && !errors.Is(err, fs.ErrExist) {
		return share{}, fmt.Errorf("mark the shared directory: %w", err)
	}
	if s.trouble() != nil {
		return s, nil
	}
	if err := replace(filepath.Join(dataDir, seenBefore), dir); err != nil {
		return share{}, fmt.Errorf("open the shared directory: %w", err)
	}
	return s, nil
}

// owner reads of which cluster a directory is.
func (s share) owner() (string, error) {
	f, err := os.Open(filepath.Join(s.dir, marker))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxOwner))
	return strings.TrimSpace(string(b)), err
}

// trouble says why the directory cannot be used right now.
func (s share) trouble() error {
	switch owner, err := s.owner(); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the shared directory %s has no file %s: is its file system mounted? If it is a new and empty one, write %s into that file", s.dir, marker, s.cluster)
	case err != nil:
		return fmt.Errorf("look at the shared directory: %w", err)
	case owner != s.cluster:
		return fmt.Errorf("the shared directory %s belongs to cluster %q, not to this one, %s", s.dir, owner, s.cluster)
	}
	return nil
}

// Shares tells whether the node has the directory for shared volumes, right now: one that is no longer mounted counts no more, nor
// one that another cluster took over.
func (s *Store) Shares() bool { return s.share.dir != "" && s.share.trouble() == nil }

// ShareTrouble says why there is a directory for shared volumes and it cannot be used; nil when it can, or there is none.
func (s *Store) ShareTrouble() error {
	if s.share.dir == "" {
		return nil
	}
	return s.share.trouble()
}

// TakeOver makes the shared directory of a former cluster this one's, which was restored from it. It may be called again and by several
// nodes at once; of two clusters that were restored from the same one, one gets it. A directory of anybody else stays as it is.
func (s *Store) TakeOver(former string) error {
	if s.share.dir == "" || former == "" || strings.ContainsAny(former, "/\x00") {
		return nil
	}
	if owner, err := s.share.owner(); err != nil || owner != former {
		return nil // ShareTrouble says why, if it is not this cluster's already
	}
	successor := filepath.Join(s.share.dir, after+former)
	if err := claim(successor, s.share.cluster); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("take over the shared directory: %w", err)
	}
	b, err := os.ReadFile(successor)
	if err != nil {
		return fmt.Errorf("take over the shared directory: %w", err)
	}
	if other := strings.TrimSpace(string(b)); other != s.share.cluster {
		return fmt.Errorf("the shared directory %s was taken over from cluster %q by another one, %q", s.share.dir, former, other)
	}
	if err := replace(filepath.Join(s.share.dir, marker), s.share.cluster+"\n"); err != nil {
		return fmt.Errorf("take over the shared directory: %w", err)
	}
	return s.makeShared()
}

// claim writes a cluster's ID into a file that is not there yet, whole or not at all. It is an error that wraps fs.ErrExist when there is one.
func claim(path, clusterID string) error {
	return written(path, clusterID+"\n", func(temp string) error { return os.Link(temp, path) })
}

// replace writes a file, over one that may be there, whole or not at all.
func replace(path, text string) error {
	return written(path, text, func(temp string) error { return os.Rename(temp, path) })
}

// written makes a file beside path, and lets name give it its name.
func written(path, text string, name func(temp string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = name(f.Name())
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
