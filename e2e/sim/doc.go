// Package sim runs a whole cluster in one process and in virtual time, hurts it in ways drawn from a seed, and checks all
// along that it keeps what it promised.
//
// What is real: each node has the reconcile.Loop that ships, on a virt/sim hypervisor, and a cluster.State of its own (in clusters
// of more than 16 machines only the voters have). The leader chooses nodes with placement.Index. What is a model: Raft (ledger.go: one ordered log, a leader with a
// term, replicas that lag, are cut off, or come back from a snapshot; proposals that are lost, or committed and not
// answered), gossip (a table of who answers, late and at times frozen), the duties of the leader and the way of a proposal, which
// follow package node.
//
// A run has rounds. In each, clients create, delete, stop, start and reboot instances through any node, and repeat under the same
// request ID what was not answered, while the nemesis kills daemons, cuts power, parts the network, deposes leaders, turns
// clocks, and lets hypervisors and guests fail. Then all faults end and the cluster has settleTime to come to rest.
//
// What it promises: every Check is asked at the moment that it can be broken: at each index for the state, at each start for domains, at each
// acknowledgement for clients, at rest for what is left over. The first that is broken ends the run. Each Check is proved
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
