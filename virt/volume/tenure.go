package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// workPrefix begins the name of the directory, beside the files of a volume, in which one tenure makes a file.
const workPrefix = "work-"

// Tenure is by what right a node works on files. In a directory that nodes share, another node may have been given the same work
// since this one was, and this one may be too slow or too lonely to know. So what is made under a tenure is made apart from what others
// make, gets its name only while the tenure holds, and never in place of a file that is there. The zero Tenure is for files that nobody
// else reaches.
type Tenure struct {
	Name  string                      // no other decision to give some node the work has it; letters, digits, dashes
	Still func(context.Context) error // why the tenure is over, as the cluster says and not the node's memory; nil: it never is
}

func (t Tenure) holds(ctx context.Context) error {
	if t.Still == nil {
		return nil
	}
	if err := t.Still(ctx); err != nil {
		return fmt.Errorf("go on with the work of this node: %w", err)
	}
	return nil
}

// produce has make make a file apart from others, and then gives it its name. fs.ErrExist when a file has that name: it is left alone.
func (t Tenure) produce(ctx context.Context, path string, mode fs.FileMode, make func(temp string) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	work := filepath.Join(filepath.Dir(path), workPrefix+t.Name)
	if err := clearWork(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(work, mode); err != nil {
		return err
	}
	temp := filepath.Join(work, filepath.Base(path))
	err := make(temp)
	if err == nil {
		err = syncDir(temp)
	}
	if err == nil {
		err = t.holds(ctx)
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	}
	return errors.Join(err, os.RemoveAll(work), syncDir(filepath.Dir(path)))
}

// clearWork removes what earlier tenures, and earlier attempts, left unfinished. If one of them is still at it, its file never gets a name.
func clearWork(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), workPrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
