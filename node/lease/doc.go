// Package lease makes sure that a node which nobody hears any more has ended what is started elsewhere.
//
// Each node asks the leader again and again for its lease (Holder). An answer is good from the moment at which the node asked, for as long as
// cluster.Lease.Stop: then, without another one, it ends the instances that it has said to guard. If its daemon hangs, a process
// of its own does it (Watch), which needs nothing but a file in memory (Board), the kernel's clock and /proc. The leader counts from when it heard of
// a node last, or from the beginning of its own term (Warden), and takes a node for dead after cluster.Lease.Dead, which is
// longer by all that can go wrong in between.
//
// What it promises: when LoseNode is committed in a leader's name, the node's lease is over and the time to end its guarded instances has
// passed. A leader grants nothing before its own term is in the state, nothing that a majority did not confirm after it was asked, and nothing to
// a node that it is about to lose. A node holds a lease again only when it has seen the state in which it was lost.
//
// A start that the hypervisor was told to make stands on the board until it is answered. One that is in doubt when its instance is another node's is barred: daemon
// and watchdog end its guest wherever they see it, whatever the lease is, until a new start of it is let through (Holder.Ordering). A guest that is this node's is never barred.
//
// What it relies on: clocks that differ by less than a twentieth in speed. A lease is counted by CLOCK_BOOTTIME, which goes on while the
// machine sleeps. If daemon and watchdog are both stopped, as by a hanging kernel or a paused host, only a hardware
// watchdog ends the guests; Watch feeds the one that it is given.
//
// Concurrency: Holder and Warden are safe for concurrent use; Run and Attend are one goroutine each.
//
// Testing: clocks are arguments, so that a test can let a node sleep, lag and return; e2e tells it with real guests.
package lease
