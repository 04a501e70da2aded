package raftfsm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// formatFile says that the log of the directory has an anchor, so that one without is not taken for a log of former builds, or a new one.
	formatFile = "format"
	formatText = "kilonova log and snapshots, format 2\n"

	// whatToDo ends every refusal to start on what is damaged.
	whatToDo = "nothing was changed; bring the file back as it was (the disk may be failing), or take this node out of the cluster, " +
		"wipe its data directory and let it join as a new node; a cluster that has no other node is made anew from a backup"

	// lockRetry is how often a log that another process holds is tried.
	lockRetry = 50 * time.Millisecond
)

// errInUse says that another process has the log open.
var errInUse = errors.New("another process uses it")

// found is what a replica's directory holds before anything is opened.
type found struct {
	empty    bool // no log was ever begun here
	anchored bool // the log has to have an anchor
	txid     uint64
}

// inspect looks at a directory's log without changing anything, and refuses one that bbolt cannot be trusted with.
func inspect(dir string) (found, error) {
	f, err := readFormat(dir)
	if err != nil {
		return f, err
	}
	path := filepath.Join(dir, logFile)
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, f.missing(dir, errors.New("it is not there"))
	}
	if err != nil {
		return f, err
	}
	defer func() { _ = file.Close() }() // which gives the lock back
	if err := lockShared(file); err != nil {
		return f, fmt.Errorf("open raft log %s: %w", path, err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil && size == 0 {
		return f, f.missing(dir, fmt.Errorf("it is empty: %w", errCorrupt))
	}
	if err == nil {
		f.txid, err = checkPages(file, size)
	}
	if err != nil {
		return f, damaged(path, err)
	}
	f.empty = f.txid <= 1 && !f.anchored // made, and not yet begun
	return f, nil
}

// newestTransaction is the number of the transaction that a log's file ends with.
func newestTransaction(path string) (txid uint64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err == nil {
		p := &boltPages{file: file, size: info.Size()}
		err = p.readHeads()
		txid = p.head.txid
	}
	return txid, errors.Join(err, file.Close())
}

// missing is what a directory without a log means: it is new, or has lost it.
func (f *found) missing(dir string, why error) error {
	if !f.anchored {
		snapshots, err := wholeSnapshots(dir)
		if err != nil {
			return err
		}
		if len(snapshots) == 0 {
			f.empty = true
			return nil
		}
	}
	return damaged(filepath.Join(dir, logFile), why)
}

// damaged says which file is not what was written, and what to do.
func damaged(path string, err error) error { return fmt.Errorf("%s: %w; %s", path, err, whatToDo) }

// lockShared waits a little for whoever writes to the log; bbolt uses the same lock.
func lockShared(file *os.File) error {
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(lockRetry) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(deadline) {
			return errInUse
		}
	}
}

func readFormat(dir string) (found, error) {
	path := filepath.Join(dir, formatFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return found{}, nil
	}
	if err != nil {
		return found{}, err
	}
	if string(b) != formatText {
		return found{}, damaged(path, fmt.Errorf("it says %.60q, not %q: it is of a later build, or %w", b, strings.TrimSpace(formatText), errCorrupt))
	}
	return found{anchored: true}, nil
}

// writeFormat says from now on that the log has an anchor.
func writeFormat(dir string) error {
	path := filepath.Join(dir, formatFile)
	f, err := os.OpenFile(path+tmpSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(formatText)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
		return err
	}
	return syncDir(dir)
}
