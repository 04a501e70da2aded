// Package lead is what the leader of the cluster decides: where instances go, and what goes on that no node can carry on by
// itself.
//
// Chooser fills in the nodes of instances before their command is logged. Leader finds nodes for instances that wait for one
// and destinations for moves, takes instances off nodes that are drained, and ends what nobody else ends: moves to a node
// that is gone or that nobody confirms, deletions on a silent node, soft deletions whose time has come. What a silent node was to do in
// the shared directory it gives to another.
//
// What it promises: nothing that it decides is an order. It proposes, and the state checks room, step and generation again, so
// a leader that was deposed without noticing does no harm. What is refused is tried again with growing pauses, since every
// attempt is an entry in everybody's log. Nothing is destroyed because a node is silent.
//
// What it relies on: a Cluster that commits what is proposed while this node leads, and hints from gossip, which may be late or wrong.
//
// Concurrency: a Chooser is safe for concurrent use. Leader.Run is one goroutine, which waits for those that it starts.
//
// Testing: a state in memory in a synctest bubble; e2e/sim runs it in clusters that are hurt.
package lead
