package virt

import (
	"context"
	"net"

	"github.com/kilonova/kilonova/cluster"
)

// MirrorState is how far the mirroring of a guest's root disk is.
type MirrorState int

// The states of a mirror.
const (
	MirrorNone    MirrorState = iota // there is none: it was not begun, was ended, or the guest is off
	MirrorCopying                    // what was on the disk before is still being copied
	MirrorReady                      // the other side has all, and every write of the guest waits until it has that, too
)

// Mirrors is a hypervisor that keeps a copy of a running guest's root disk elsewhere, write by write. Not every Driver is one.
//
// From MirrorReady on, the guest is not told that something is written before the other side has it, safely, until EndMirror. When the
// connection to the other side is lost, the guest's writes wait, and the hypervisor connects to the same socket again and again; what was not
// answered is written again. So whoever lets nobody answer there holds the guest's writes back, also over an end of its own process.
type Mirrors interface {
	// Mirror begins to copy the root disk of a running domain to whoever answers at a UNIX socket of this host: a stream that ServeReplica gave
	// elsewhere. One that is under way is not an error. ErrNotRunning when the domain is off.
	Mirror(ctx context.Context, id cluster.InstanceID, socket string) error

	// Mirrored tells how far it is. ErrNotRunning when the domain is off or not there: nothing is written then.
	Mirrored(ctx context.Context, id cluster.InstanceID) (MirrorState, error)

	// EndMirror lets the guest's writes go on without the other side, those that wait too. None under way is not an error.
	EndMirror(ctx context.Context, id cluster.InstanceID) error

	// MakeReplica makes an empty root disk of an instance, for the epoch, in place of one that is there. A domain here that uses it is an error.
	MakeReplica(ctx context.Context, id cluster.InstanceID, epoch uint64, root RootDisk) error

	// ServeReplica takes what Mirror sends elsewhere into such a disk, and answers when it is safe on it. The stream breaks, and answers
	// nothing more, when something cannot be written. When Close has returned nobody writes to the disk any more.
	ServeReplica(ctx context.Context, id cluster.InstanceID, epoch uint64) (net.Conn, error)

	// Discard takes what Mirror sends, answers as a replica would, and keeps nothing. It stands in for a replica that does not count any more until
	// EndMirror has returned: a hypervisor that waits for an answer may not hear what else it is told.
	Discard(ctx context.Context) (net.Conn, error)
}
