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
//	KILONOVA-GUEST BOOT boot=2 count=17                             the counter found on its disk
//	KILONOVA-GUEST META uuid=... name=... hostname=...              from the config drive
//	KILONOVA-GUEST DISK vda bytes=...                               each of its disks
//	KILONOVA-GUEST USERDATA begin / ... / USERDATA end status=0     what a "#!" user_data printed
//	KILONOVA-GUEST READY uuid=... ip=10.0.0.5,10.0.1.5
//	count 18                                                        every second, after it is on the disk
//	KILONOVA-GUEST FOREIGN expected=... found=...                   something else wrote its counter
//	KILONOVA-GUEST POWEROFF count=21                                after an ACPI power button
//
// It relies on the Debian packages that "make deps" installs, of the machine that builds; results are kept in a
// cache directory under a name made of all their inputs, and are whole or absent. No root is needed for the
// small guest; a stock Debian takes root and minutes.
//
// Concurrency: builds may run at once, in one process or several; one builds, the others wait for it.
//
// To test it, run "go test ./e2e/guest"; the tests that boot the images run QEMU.
package guest
