// Package operate is a node's part of the operations that take more than a change of power: it copies disks to where an instance
// moves, sends running guests, and saves disks to images. It is this node's other loop, beside package reconcile, which builds
// domains and switches them.
//
// Loop is level-triggered: it looks at the operations under way (cluster.View.UnderWay), gives each whose present step is this
// node's to carry out (cluster.Instance.Executor) to a worker of its own, and calls back those whose operation went on or away.
// A worker does its step as often as it takes and then proposes how that ended (cluster.AdvanceOperation) until the state has it.
// The other ends of moves are Source, which gives disks, and Destination, which takes running guests in. Peers reach both.
//
// What it promises. A step begins only after a linearizable read confirmed it. Each may be repeated, so a crash at any point makes
// the next daemon do it again: copies start anew, captures too; a migration that was under way is ended and then judged by where
// the guest is. An error about which nobody can do anything is told to the state, which takes the instance back to where it
// was; what may pass is tried again for a while. Source and Destination serve only the very node, move and step that the state
// names. Disks made here are removed by tombstones alone, never by this package.
//
// What it relies on: a Cluster that tells and changes the state, a virt.Driver, the Images of package reconcile, and Peers. No
// step is begun on an instance whose tombstone on this node is pending.
//
// Concurrency: Run is one goroutine that owns the loop's memory; it returns when its context has ended and every worker is done.
// Source and Destination are safe for concurrent use, and their Close ends and waits for all that they began.
//
// Testing: an in-memory state, two sim drivers and a pair of pipes for the wire; places where the process can be made to die or to
// stand still are listed in Points.
package operate
