// Package sim is a hypervisor that runs no guests: it keeps records of domains, disks and consoles in memory,
// and, if asked to, in one file. Demonstrations, simulations of a thousand nodes and API conformance suites
// use it where real guests would be too heavy.
//
// A simulated guest has a memory and a disk, so that it shows when either is lost. The memory knows which boot it
// lives in and how long it ran: it lasts over a pause, a save and a live migration, and not over the power. The disk
// counts its boots and keeps the lines that the guest wrote (GuestWrite, or "write" on the serial console): they are in
// its captures, in what is made from them, and wherever it is exported or migrated to. They stand as text at the
// beginning of the disk; of a base image, nothing else is read, and one that is missing is an empty one.
//
// What it promises: it answers as virt.Driver says and passes the same suite as the real driver. What it was
// told before it was killed, it still knows when it is opened again on the same file, as libvirt would. Each
// operation can be made slow, failing, hanging, or failing after it took effect, and guests and the host can
// be made to crash. The same seed and the same calls give the same failures.
//
// Live migration goes through the destination's UNIX sockets in Config.Sockets, as that of libvirt does: one of the
// daemon, and one each for memory and disks, by the base names of Landing.Memory and Landing.NBD, on which the
// destination listens once it was asked to. Who proxies them is exercised as by the real thing.
//
// A mirror of a disk (virt.Mirrors) sends all that the disk holds whenever that has changed. From the first time that the other side had all, a
// guest's write returns when the other side has it, also over an end of this process; a write that waits goes on when the mirror is ended.
//
// What it relies on: one Driver per file and per directory of sockets. Time is that of package time, so that a
// testing/synctest bubble makes it virtual: a guest's boot and shutdown take no goroutine and no real time. In a bubble
// a Net takes the place of UNIX sockets.
//
// Concurrency: a Driver is safe for concurrent use. It has one goroutine however many domains it holds, and more only
// for consoles, migrations and mirrors that are open; Close ends them and waits for them.
package sim
