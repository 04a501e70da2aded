// Package chunk keeps the bytes of images on a node, cut into 4 MiB chunks that are named by their SHA-256.
//
// An image is a Manifest, the list of its chunks; the manifest is stored like a chunk, and its hash is the
// image's root, which is all that the replicated state has to know. What reads as zeros is not stored, and
// what is stored once serves every image that has it.
//
// What it promises: nothing is read that does not match its hash; what does not is set aside and reported as
// missing, so that it is fetched again. A chunk appears whole and synced or not at all, also when the process
// is killed or the disk is full. When Commit or Fetch returned, the image is on disk. Memory does not grow
// with the size of an image's data (only its manifest: 32 bytes for each 4 MiB). Sweep removes nothing that is
// reachable from the roots it is given, nor what is being written.
//
// What it relies on: a directory on one file system that only one Store uses at a time; a lock in it says so.
//
// Concurrency: a Store is safe for concurrent use; a Writer is for one goroutine. The package keeps no
// goroutine beyond a call.
//
// The layout below the data directory:
//
//	images/chunks/ab/ab12...   chunks and manifests, by the first byte of their hash
//	images/tmp/*.tmp           what is being written; removed at start
//	images/quarantine/ab12...  what did not match its hash
//	base/<root>.<format>       whole images for disks to lie on; see Materialize
package chunk
