// Package mirror keeps copies of the root disks of running guests on other nodes, write by write: of this node's guests elsewhere (Keeper),
// and of others' guests here (Receiver).
//
// What it promises: as long as the state calls a replica current, the guest is told of no write that the replica does not have. The argument:
// a replica is called current after the hypervisor has copied all, and tells the guest of a write only when the other node has put it on its
// disk (virt.Mirrors). When the other node does not answer, the guest's writes wait: QEMU connects to this node's socket again and again, and
// whether this daemon is slow, dead or cut off, nobody answers there. They wait until the state has said that the replica is stale,
// and only a node that the instance still belongs to can say that. From then on this node answers them itself, until the hypervisor has heard that the
// mirror is over: with a write that waits QEMU may hear nothing. A node that cannot, because it is cut off, loses its lease, and the guest,
// with its lease; a node whose instance was given up meanwhile is refused, and never lets it go on. A guest that is started anew has a disk
// that its replica need not equal (the last writes, of which it was not told, may be on either), so the state hears "stale" before the start.
// What is lost when the node dies is what the guest was not told of.
//
// What it relies on: a Cluster that tells and changes the state, virt.Mirrors, the images of package reconcile, and peers that know
// each other by their certificates. A replica that is begun again is another one, with another epoch: nothing is ever taken from a stale one.
//
// Concurrency: Keeper.Run and Receiver.Run each wait for all that they began. When they end, guests that are mirrored wait with their writes
// until the next daemon is there. Take, Busy and BeforeStart may be called at any time.
//
// Testing: an in-memory state, a fake hypervisor whose guest writes through the real streams, and the real one in package e2e.
package mirror
