// Package chaos hurts a cluster of real daemons while clients use it, and looks whether it keeps its promises.
//
// Five hosts (package e2e/lab) run the kilonova program, with simulated hypervisors or with libvirt and QEMU. Clients make, change, move, read and delete servers
// and volumes through all nodes at once, and write down what they asked and what they were told (History). A nemesis does one harm after the other to the
// hosts, drawn from a seed: daemons killed and stopped, power cut, networks parted, slow, lossy, disks full, stalled, failing,
// wiped and copied, clocks wrong. Then it stops, and the cluster
// has a minute to be sound again.
//
// What is looked at meanwhile: no instance runs on two hosts at the same time; nodes promise no more than they have; the states of two nodes at one index
// are one state, and it does not contradict itself; no answer is an error of the service. What is looked at in the end: every acknowledged
// create and delete was done once, and nothing else was; the history of each server can be put into an order in which each
// answer is right (porcupine); one node leads, nothing is under way, hosts hold what the cluster says and nothing else; and
// nothing at all once everything is deleted.
//
// It relies on root, and on a kilonova program that was built before. "make test" plays five minutes, "make chaos" what it is told to. A failure says where the
// history, the logs and the disks of the hosts are, and how to run its seed again: the same harms in the same order at the same times, though not the
// same interleaving of what runs on the machine.
//
// Concurrency: the History, and what counts as seen, are safe for concurrent use. Each client, the nemesis, and each observer is one goroutine; run waits
// for all of them.
//
// Testing: the checks are pure functions of histories, and each is tested with made-up ones in which its mistake is planted. docs/CHAOS.md
// says which check finds which mistake.
package chaos
