package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a build looks whether another one of the same thing has ended.
const lockPoll = 100 * time.Millisecond

// cached returns the directory that build fills, from the cache if it was built from the same inputs before.
// Older results of the same kind are removed; build may fail or be killed at any point.
func cached(ctx context.Context, cacheDir, kind string, inputs [][]byte, build func(context.Context, string) error) (string, error) {
	dir := filepath.Join(cacheDir, kind+"-"+fingerprint(inputs))
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(cacheDir, kind+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := filepath.Join(cacheDir, "part-"+kind) // We hold the lock: what is there was left by a killed build.
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o755)); err != nil {
		return "", err
	}
	if err := build(ctx, part); err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	if err := dropOlder(cacheDir, kind); err != nil {
		return "", err
	}
	return dir, os.Rename(part, dir)
}

func fingerprint(inputs [][]byte) string {
	all := sha256.New()
	for _, in := range inputs {
		one := sha256.Sum256(in) // Hashed one by one, so that moving a byte between inputs changes the sum.
		all.Write(one[:])
	}
	return hex.EncodeToString(all.Sum(nil)[:8])
}

// dropOlder removes the results of earlier inputs: only the newest is of use, and they are large. One that a
// running test still has open lives on until it is closed.
func dropOlder(cacheDir, kind string) error {
	old, err := filepath.Glob(filepath.Join(cacheDir, kind+"-*"))
	if err != nil {
		return err
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return fmt.Errorf("drop old build %s: %w", strings.TrimPrefix(o, cacheDir), err)
		}
	}
	return nil
}

// lock takes a file lock and returns what gives it back.
func lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another build: %w", ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}
