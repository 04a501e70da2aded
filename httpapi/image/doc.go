// Package image serves OpenStack's Image API v2, Glance: the records of images, and their bytes in and out.
//
// A record is part of the replicated state. The bytes go from the request straight into this node's Store, are looked
// into before they become an image (package virt/image), are copied to other nodes, and only then is the image active.
// Whatever ends an upload before that puts the record back to queued. Nothing of what was refused stays; what could not be
// copied, or was corrupted on its way, is swept by the node later.
//
// What it promises: the memory of an upload or a download does not depend on the image's size. One upload at a time has an
// image; a second one is a 409. An upload whose node died is taken over by the next one (see uploadClaim). Another
// project's image that was not shared with the caller is a 404. What was uploaded is never opened as anything but the
// format that the record claims, and is refused when it lies about that.
//
// Any format that the inspection knows is taken in. Servers boot from raw, qcow2, iso and Amazon's three parts; the
// others can be kept and downloaded.
//
// What it does not serve: Glance's import methods, several stores, locations, tasks, metadata definitions and caching; the
// lists of what there is say so.
//
// What it relies on: the state checks revisions, so a decision that was made against an older record is made again. The
// Store keeps what is being written from being swept.
//
// Concurrency: a router is safe for concurrent use. An upload has a second goroutine, which ends before the request does.
//
// Testing: in process, with package resttest for the state and a Store in memory; testdata holds the shapes of a real
// Glance's replies.
package image
