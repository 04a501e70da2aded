package node

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lowSpace is with how little room on the disk of its data directory a node gives up leading and takes no guests. The log of the busiest cluster
	// does not fill that between two looks, and a snapshot of a large state still fits: whoever is short is so before a write fails.
	lowSpace = 64 << 20

	// spaceEvery is how often a leader looks.
	spaceEvery = 2 * time.Second
)

// space is the room on a node's disk.
type space struct{ dir string }

// shortage says in one line that there is too little room; "" when there is enough, or when nobody can tell.
func (s space) shortage() string {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return ""
	}
	return tooLittle(fs.Bavail*uint64(fs.Bsize), s.dir)
}

func tooLittle(free uint64, dir string) string {
	if free >= lowSpace {
		return ""
	}
	return fmt.Sprintf("the disk of %s is nearly full: %d MiB are left, and with less than %d a node neither leads nor takes guests", dir, free>>20, lowSpace>>20)
}

// yieldWhenFull hands the leadership over while the disk is nearly full. When nobody else can lead, this node leads on: that is better than none.
func (n *node) yieldWhenFull(ctx context.Context) {
	for pause(ctx, spaceEvery) {
		why := space{n.dir.path}.shortage()
		if why == "" {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, transferTimeout)
		err := n.state.raft.Transfer(bounded)
		cancel()
		n.cfg.Log.Warn("hand the leadership over", "why", why, "err", err)
	}
}
