package chunk

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What images leave free of the disk that they share with the node's own log: a twentieth, at most 1 GiB. A node whose log cannot be
// written stops, so nobody's upload may go so far.
const (
	reserveShare = 20
	reserveMost  = 1 << 30
)

// room is an error that wraps ErrFull unless the disk has room for so many bytes more beside the reserve.
func (s *Store) room(bytes int) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(s.chunks, &disk); err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	block := uint64(disk.Bsize)
	free, reserve := disk.Bavail*block, min(disk.Blocks*block/reserveShare, reserveMost)
	if free < reserve+uint64(bytes) {
		return fmt.Errorf("%w: %d MiB are free, and images leave %d MiB to the node's log", ErrFull, free>>20, reserve>>20)
	}
	return nil
}
