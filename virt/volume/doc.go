// Package volume keeps the files of volumes and their snapshots on a node.
//
// A volume is one raw file, sparse, or a LUKS container for an encrypted one; never a chain of overlays. A raw file has no structure of
// its own that a crash could break, what a guest has flushed is where it was written, growing it is one system call, and no bytes in
// it can be mistaken for a header, because its format is always named. The price is that a snapshot copies the data (not the holes),
// instead of freezing it below an overlay: it is a file that stands alone, so neither the loss nor the deletion of one touches another.
//
// Each volume and each snapshot has a directory named by its ID, below the node's own directory or below the one that nodes share. Every
// change makes a new file and gives it its name when it is complete and on the disk, so whatever was interrupted is simply done again. A
// volume that is done already is left alone, so doing it again is harmless.
//
// Copies are made by qemu-img, which takes QEMU's locks: it refuses to read what a guest writes to, and QEMU refuses to write to what is
// being copied. A copy of a disk that a guest has is made by the hypervisor's driver instead.
//
// The shared directory is of one cluster, which its mark names. A node whose directory is another cluster's, or is not mounted, goes on without
// it; a cluster that was restored from another one takes the other's over.
//
// Of the files in the shared directory one node at a time makes, grows, copies and removes each. When that node is silent, the cluster gives
// the work to another; a Tenure keeps the two apart.
//
// Nothing here is removed unless Remove is called, which its caller may only do for a committed removal. A Store is safe for concurrent
// use; the caller does not do two things to one volume at once.
package volume
