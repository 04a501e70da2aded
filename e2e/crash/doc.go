// Package crash lets everything that carries out an operation of an instance die on the way.
//
// It runs three kilonova processes with simulated hypervisors on loopback addresses, each with a file of failpoints (package
// node/failpoint) that may change while it runs. First every operation is rehearsed: it goes well, and the traces of the failpoints tell which
// places it comes by, at its host, elsewhere, and behind each commit at the leader. That gives the programme: each operation, at each of these
// places, once with the daemon killed that comes by, once with the leader killed while that daemon stands still, once with an error. Many plays
// happen at the same time, on servers of their own, since a harm is meant for one server; so what is killed for one disturbs the others.
//
// After each: the operation is done or undone within a bound; the request was answered with a success, and the instance's actions say the
// same as its status; the memory of a guest that is not to notice has not ended, and its disk counts every boot. After each wave: nodes, servers,
// volumes, migrations and images agree with the records of the simulated hosts, nothing is left over, and when all is deleted there is
// nothing at all. The records tell to the microsecond when a guest's processors ran, so that two hosts that ran one at the same time are
// found afterwards, however short it was.
//
// A place that no operation comes by fails the test, unless it stands in the list "unmet" with its reason.
//
// It relies on a kilonova program that was built before: "KILONOVA_BIN=$PWD/bin/kilonova go test ./e2e/crash" plays a
// representative part of the programme, "make crash" all of it. With "-args -only REGEX" only what is printed like that is played. It needs
// no root.
//
// The checks themselves are those of package audit.
package crash
