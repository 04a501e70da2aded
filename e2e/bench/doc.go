// Command bench is what "make bench" runs: it measures the speed and size that Kilonova promises, on a real cluster of
// three processes on this machine's loopback addresses, and prints one table of goals and figures.
//
// What it promises:
//   - A figure is the median of several runs and is printed with its spread. Beside it stand what happened meanwhile on the machine:
//     the latency of fdatasync on the same disk, and the share of the processors that others had.
//   - A goal that is missed is said to be missed. Nothing fails because of it: figures of a busy machine are no test.
//   - It sends only to addresses of 127.0.0.0/8, and to hosts of a lab that it makes itself. It removes what it made, also when it is
//     interrupted.
//
// It relies on a kilonova program that was built before, on Linux's /proc, and for the figure of real domains on what "make run"
// relies on.
//
// The nodes run with the simulated hypervisor, except for one figure. The load comes from the same machine, so that clients and
// three nodes share its processors: a figure is of the whole, not of a node alone.
//
// To test it: "go test ./e2e/bench" tests how it counts; running it tests the rest.
package main
