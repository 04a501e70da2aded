// Package virttest is the conformance suite of hypervisor drivers.
//
// Run tells the same stories to every driver: the sim driver, libvirt over its own test driver, and libvirt
// over QEMU. What a caller of virt.Driver may rely on is what is asserted here, and nothing that only one of
// them does.
//
// A test makes a Backend for each story. The functions of a Backend that do something to the hypervisor behind
// the driver's back (hang it, kill a guest, plant a stranger) may be nil where that cannot be done; the stories
// that need them are then skipped, and say so.
//
// Concurrency: stories run one after the other.
//
// Testing: the suite runs against the sim driver in this package's own tests. BootSector is a guest small
// enough for it: 512 bytes that count on the serial port.
package virttest
