// Package node is one peer of the cluster: its configuration, how it enrols, how its parts are wired, and the loops
// that run it.
//
// A Node has parts, each with one duty: the agreement (propose, read), the leader's loops (placement, membership,
// image copies), the reconciler (this node's instances on its hypervisor), the blobs (image chunks), and the servers
// (peer port, API, local socket). The parts know each other through small interfaces; no other package takes a *Node.
//
// What it promises: Init alone bootstraps, Join never does; a data directory belongs to one node of one cluster for
// ever; a loop takes the latest view, does one pass, and waits for a change, a hint or a timer; nothing is ever
// started or destroyed for gossip's sake.
//
// Concurrency: Run blocks until its context ends, stops the parts in the reverse order of their start and waits for
// each. Domains go on running.
//
// Testing: parts are tested alone with fakes; several nodes with the sim driver on loopback addresses make a cluster
// in one process; real hosts are in e2e.
package node
