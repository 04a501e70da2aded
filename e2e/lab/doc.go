// Package lab makes several hosts out of one machine, so that real kilonova daemons, real libvirtds and real
// guests can be started, starved, cut off and powered down without a rack.
//
// A Host is a network, mount, UTS and PID namespace with its own libvirtd (state, configuration and sockets),
// its own ext4 disk in a loop-mounted file, an address on the lab's management network (eth0) and a Linux
// bridge (br0) whose uplink (eth1) is on the lab's guest network. All bridges and cables live in one more
// network namespace, the fabric, which has one cable to the machine for each of the two networks: the machine
// is 10.77.<lab>.1 and 10.78.<lab>.1, the hosts are 10.77.<lab>.11 and up.
//
// It promises:
//
//   - Killing PID 1 of a host's PID namespace is a power cut: every process in it goes at once, and what was
//     not synced to the disk is lost, because the file system is shut down without its journal.
//   - Close removes everything. If the lab's process is killed instead, the hosts see the end of a pipe and
//     die with it; Sweep removes the files that then stay behind.
//   - A cable that is rough (Roughen) delays, reorders and doubles frames as its seed says, and becomes smooth again; a wall clock
//     that is turned (ShiftClock) is that of one process alone.
//   - Two labs never collide: each takes an index by a file lock and names everything after it.
//
// It relies on Linux, root, util-linux, e2fsprogs, nftables and, for guests, Debian's libvirt and QEMU
// packages ("make deps" installs them).
//
// Concurrency: all methods may be called from several goroutines. Operations on one host that contradict each
// other (PowerOn during PowerCut) wait for each other.
//
// To test it, run "go test ./e2e/lab" as root; without root the tests that need hosts are skipped.
package lab
