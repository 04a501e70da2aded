package operate

import (
	"context"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/failpoint"
)

// The failpoints (package node/failpoint) of this package, in the order in which a step comes by them.
const (
	PointCopyConfirmed  = "operate/copying/confirmed"    // at the destination, before anything was done
	PointCopyListed     = "operate/copying/listed"       // the source gave the list of its disks
	PointCopyImported   = "operate/copying/after-import" // one disk is here
	PointCopyDone       = "operate/copying/done"         // all are, and nobody knows yet
	PointCopyAdvanced   = "operate/copying/advanced"     // the state has it
	PointCopyBlock      = "operate/copying/block"        // at the source, before a block is sent
	PointCaptureBegun   = "operate/capturing/confirmed"
	PointCaptureCopied  = "operate/capturing/after-capture" // the disk is in a file
	PointCaptureStored  = "operate/capturing/after-import"  // and in the image store
	PointCaptureActive  = "operate/capturing/active"        // and the image is complete
	PointCaptureDone    = "operate/capturing/advanced"
	PointMigrateBegun   = "operate/migrating/confirmed"
	PointMigrateLanding = "operate/migrating/landing"  // the destination has prepared
	PointMigrateSending = "operate/migrating/sending"  // the first progress was told
	PointMigrateSent    = "operate/migrating/sent"     // the driver says that the guest runs there
	PointMigrateDone    = "operate/migrating/advanced" // the state has it
	PointAskBegun       = "operate/asking/confirmed"   // at the destination of a migration whose source was given up
	PointAskDone        = "operate/asking/advanced"
	PointLandReceived   = "operate/landing/after-receive"  // at the destination: its disks are made
	PointLandStream     = "operate/landing/before-stream"  // at the destination: a stream is asked for
	PointLandArrival    = "operate/landing/before-arrival" // at the destination: it is asked what became of the guest
)

// Points lists all failpoints of this package.
func Points() []string {
	return []string{
		PointCopyConfirmed, PointCopyListed, PointCopyImported, PointCopyDone, PointCopyAdvanced, PointCopyBlock,
		PointCaptureBegun, PointCaptureCopied, PointCaptureStored, PointCaptureActive, PointCaptureDone,
		PointMigrateBegun, PointMigrateLanding, PointMigrateSending, PointMigrateSent, PointMigrateDone,
		PointAskBegun, PointAskDone, PointLandReceived, PointLandStream, PointLandArrival,
	}
}

// advanced are the places after the state has the end of a step.
var advanced = map[cluster.OperationStep]string{
	cluster.StepCopying: PointCopyAdvanced, cluster.StepCapturing: PointCaptureDone, cluster.StepMigrating: PointMigrateDone,
	cluster.StepAsking: PointAskDone,
}

// within gives the places their scope: the instance that they are come by for.
func within(ctx context.Context, id cluster.InstanceID) context.Context {
	return failpoint.Within(ctx, string(id))
}
