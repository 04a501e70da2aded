// Command run is what "make run" starts: a Kilonova cluster of several hosts on this machine, with a guest in
// it, to look at and to play with until Ctrl-C. It shows what it does, uses the stock openstack client as a
// user would, and removes everything that it made when it ends, however it ends; what a kill -9 left is
// removed by the next start, or by --sweep. --check says whether something was left, for continuous integration.
//
// It relies on packages lab, guest and cloud, and on a kilonova program that was built before.
//
// To test it, run it: "make run"; "go test ./e2e/run" tests its parts.
package main
