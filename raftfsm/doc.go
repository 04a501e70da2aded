// Package raftfsm keeps every replica's cluster.State the same.
//
// It drives hashicorp/raft: the log and snapshots on disk, elections, membership, and the one goroutine that
// applies committed entries. Nobody else touches a State; everybody else reads a View and proposes Commands.
//
// What it promises:
//   - Propose returns a Result only after a majority wrote the entry to disk and this node applied it. An error
//     that is ErrNotApplied means that nothing happened and the command may be proposed again anywhere;
//     ErrUnknownOutcome means that it may yet happen, so it is repeated only under the same request ID.
//   - A View is published after every applied batch and before any proposer of that batch hears of it, so a
//     proposer reads its own writes here at once.
//   - Barrier gives an index such that a view at that index or later holds every change that was acknowledged
//     before Barrier was called, by any leader.
//   - The first error of the log's disk, the first record that fails its checksum, and the first entry that does
//     not decode end this replica: it acknowledges nothing more and Config.OnFatal is told why. Nothing is
//     skipped or repaired.
//   - Open looks at everything in the directory before it changes any of it. It starts with exactly what was written last, or
//     names the file that is not as it was and says what to do. It never starts with less, and never deletes what it refuses.
//   - Without a majority everything is answered with an error within ProposeTimeout.
//
// What it relies on: a StreamLayer that admits only peers of this cluster, a directory on a disk whose fsync
// tells the truth, and clocks that tick at about the same rate.
//
// # Group commit
//
// One entry is under way at a time. Whatever is proposed meanwhile goes into the next one, up to
// cluster.MaxEntryBytes, so a batch is as large as the disk is slow and an idle cluster waits for no timer.
// Behind an entry that many shared, the next one stays open for a few milliseconds, at most half as long as the last
// one took, until as many are back: who was just answered is about to propose again, and an entry that closes before
// they are there costs the disk as much and holds one command.
//
// # Early commit notice
//
// Followers learn that an entry is committed from the leader's next message. When no next entry is waiting,
// raft would send that only after Timing.Commit, and the node that has to start an instance would idle as long.
// So the leader sends it at once: an AppendEntries without entries, built from what the follower confirmed.
//
// # The disk
//
// bbolt keeps the log, and trusts what it reads: its pages have no checksums, and what is wrong in them makes it panic, fault or go
// back a transaction. So checkPages walks the file before bbolt does; each entry's seal has a checksum and names the seal before it; and the last
// record, the anchor, names the last entry and the file's transaction, and keeps term and vote. Nothing old can pass for the newest then. A
// snapshot's file repeats under a checksum what its meta.json says. A directory of a build that had none of this is read
// and protected at its first start; the file "format" tells the two apart. Builds before that refuse the directory from then on.
//
// While a node runs, what cannot be read from the log's file is an error (logStore.get), which ends the replica. When that happens to bbolt in the middle
// of a write, the process may end with Go's own words for a fault; the next start then says what it is.
//
// # Voters
//
// raft-autopilot watches the health of all members; chooseVoters (pure) decides who votes: one voter for one or
// two nodes, three for three or four, five for more, spread over zones, never a node whose operator said
// never. A voter that was silent for deadAfter is replaced when a healthy spare exists. Even numbers are only
// passed through: a second or fourth voter makes the majority larger and the cluster no safer.
//
// # Concurrency
//
// All methods of Raft may be called by anyone at any time; Close once. Config.OnLead runs in its own goroutine,
// one term at a time. Close waits for every goroutine that Open and its callbacks started.
//
// # Testing
//
// rafttest.Network is an in-memory StreamLayer whose links can be cut and delayed; it runs under testing/synctest.
package raftfsm
