// Package e2e holds the stories that Kilonova promises to its users, told with real parts: the kilonova program on
// several hosts, each with a libvirtd and QEMU guests of its own where the story is about guests, and with the stock
// clients. It has no code but tests.
//
// The stories are grouped into files by what they are about: guests, failover, members, clients, bad input. Those about
// guests share a cluster as far as that does not make them weaker; those about agreement and the API run on simulated
// hypervisors, since they then take seconds.
//
// They rely on packages lab (hosts), guest (what the guests run), and cloud (a cluster on the hosts), on root, and on the
// program that KILONOVA_BIN names; without these they are skipped, and say so. Nothing is left behind: the last test of
// the process looks.
//
// Stories on simulated hypervisors that wait more than they compute are told beside each other, after all others (t.Parallel).
//
// To run one: KILONOVA_BIN=$PWD/bin/kilonova go test ./e2e -run TestLeader -v
package e2e
