// Package reconcile makes a node's hypervisor be what the cluster committed.
//
// It is level-triggered: on a new view, a hint from the hypervisor or a timer it compares what is wanted here with what
// was observed (virt.Diff, pure) and carries out the difference, one worker per instance, starts bounded in
// number. Every action may be repeated, so a crash at any point only makes the next pass do it again.
//
// What it promises: nothing is started but what a linearizable read, made after the decision to start, still commits to this
// node in this epoch, so a node that is cut off or behind starts nothing. What it finds and cannot explain it leaves
// alone and names in Quarantined. What happened is reported to the state until the state has it.
//
// What it relies on: a Cluster that tells and changes the state, a virt.Driver, and Images that puts base images on
// this node's disk.
//
// Concurrency: Run is one goroutine that owns all of the loop's memory; workers, one of which lists the hypervisor, own nothing and send
// back what they did or saw. So nothing that libvirt takes long for with one guest holds up another.
// Run returns when its context has ended and every worker is done.
//
// Testing: an in-memory state, the sim driver and its fault knobs.
package reconcile
