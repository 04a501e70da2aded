// Package guest builds the operating systems that the end-to-end tests and "make run" boot: from Debian's own
// packages, without a network at boot and without anything that had to be downloaded as a binary.
//
// BuildSmall makes a guest that reaches its greeting within seconds under plain emulation with 128 MiB: Debian's
// cloud kernel, a ramdisk of busybox and the modules for virtio and config drives, and one script. It comes as
// kernel, ramdisk and root disk apart (to be uploaded as aki, ari and ami images) and as a self-booting disk
// (raw and qcow2). BuildDebian makes a stock Debian 12 with cloud-init.
//
// What the small guest writes to its serial console, one fact a line, is meant for tests:
//
//	KILONOVA-GUEST META uuid=... name=... hostname=...              from the config drive
//	KILONOVA-GUEST BOOT boot=2 count=17 id=1f2e3d4c records=17      what it found on its disk, and this boot's own name
//	KILONOVA-GUEST LOST record 12 is not there, 17 is               the disk lacks what was written to it
//	KILONOVA-GUEST SEEN vdb2 boot=2 count=17 records=17 intact      what the disk of another guest holds
//	KILONOVA-GUEST USERDATA begin / ... / USERDATA end status=0     what a "#!" user_data printed
//	KILONOVA-GUEST READY uuid=... ip=10.0.0.5,10.0.1.5
//	KILONOVA-GUEST DISK vda bytes=... serial=...                    each of its disks, when it comes and when it changes
//	KILONOVA-GUEST NIC eth0 mac=... ip=...                          and its cards
//	KILONOVA-GUEST GONE vdb                                         a disk or card that it has no more
//	count 18 1f2e3d4c                                               five times a second, after it is on the disk
//	KILONOVA-GUEST FOREIGN expected=... found=...                   something else wrote to its records
//	KILONOVA-GUEST SAID me ... / DONE me status=0                   what an order "do me COMMAND" on the serial console gave
//	KILONOVA-GUEST POWEROFF count=21                                after an ACPI power button
//
// Console reads all that back, and says whether a guest went on or was started anew.
//
// It relies on the Debian packages that "make deps" installs, of the machine that builds, and on Go; results are kept in a
// cache directory under a name made of all their inputs, and are whole or absent. No root is needed for the
// small guest; a stock Debian takes root and minutes.
//
// Concurrency: builds may run at once, in one process or several; one builds, the others wait for it.
//
// To test it, run "go test ./e2e/guest"; the tests that boot the images run QEMU.
package guest
