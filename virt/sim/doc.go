// Package sim is a hypervisor that runs no guests: it keeps records of domains, disks and consoles in memory,
// and, if asked to, in one file. Demonstrations, simulations of a thousand nodes and API conformance suites
// use it where real guests would be too heavy.
//
// What it promises: it answers as virt.Driver says and passes the same suite as the real driver. What it was
// told before it was killed, it still knows when it is opened again on the same file, as libvirt would. Each
// operation can be made slow, failing, hanging, or failing after it took effect, and guests and the host can
// be made to crash. The same seed and the same calls give the same failures.
//
// What it relies on: one Driver per file. Time is that of package time, so that a testing/synctest bubble
// makes it virtual: a guest's boot and shutdown take no goroutine and no real time.
//
// Concurrency: a Driver is safe for concurrent use. It has one goroutine however many domains it holds; Close
// waits for it.
package sim
