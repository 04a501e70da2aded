// Package sim runs a whole cluster in one process and in virtual time, hurts it in ways drawn from a seed, and checks all
// along that it keeps what it promised.
//
// What is real: each node has the reconcile.Loop, the operate.Loop, Source and Destination that ship, on a virt/sim hypervisor, and a
// cluster.State of its own (in clusters of more than 16 machines only the voters have). The leader runs lead.Leader. Each node holds a lease by a
// lease.Holder, on a clock that runs up to 2.4 % fast or slow, and the leader's lease.Warden takes for dead who is silent; clusters of more than 16 machines do without. What is a
// model: the watchdog (lease.go: it goes by the same lease.Board), Raft (ledger.go: one ordered log, a leader with a term, replicas that lag, are cut off, or come back from a snapshot;
// proposals that are lost, or committed and not answered), gossip (a table of who answers, late and at times frozen), the image
// store, and the way of a proposal, which follows package node.
//
// A run has rounds. In each, clients create and delete instances and ask for everything that can be done to one (deeds.go) through
// any node, and repeat under the same request ID what was not answered, while the nemesis kills daemons, cuts power, parts the
// network, deposes leaders, turns clocks, lets hypervisors and guests fail, and takes hosts down that an operator then evacuates.
// Then all faults end and the cluster has settleTime to come to rest. At rest, the machine with the most guests that ask for high availability is lost (loss.go), by its power, its daemon or its
// network, and they have to run elsewhere in time. Guests write to their disks meanwhile, and annals.go knows
// what each disk and each memory has to hold.
//
// What it promises: every Check is asked at the moment that it can be broken: at each index for the state, at each start and four
// times a second for domains, at each acknowledgement for clients, at rest for what is left over. The first that is broken ends the run. Each Check is proved
// by a Bug that it finds. The schedule of faults and requests is a function of the seed, and so is every delay. What happens at
// one and the same instant of virtual time is left to the Go scheduler; the delays have nanoseconds to make that rare.
//
// What it relies on: testing/synctest. Run has to be called inside a bubble.
//
// Concurrency: every goroutine belongs to the World and has ended when Run returns. The lock of the ledger is never held while
// time passes.
//
// Testing: go test ./e2e/sim; make sim SEEDS=1000 for more; a failure says how to run its seed again.
package sim
