// Package libvirt is the hypervisor driver for real guests: QEMU through the libvirtd of its own host.
//
// It speaks libvirt's RPC protocol over the local UNIX socket, so a host needs no listening libvirtd, no SSH
// and no cgo. Build renders a virt.Guest into domain XML, disks and a config drive below
// DataDir/instances/<instance ID>; the domain's UUID is the instance's ID, and its metadata carries the stamp
// of the decision that it was built for. The disks lie in disks-<epoch> there: root and rescue (qcow2), swap and
// ephemeral (raw). A user alias (ua-disk-..., ua-vol-..., ua-nic-...) on each device says which disk or card it is,
// in the definition, in the running domain and after a migration.
//
// What it promises:
//   - Every call returns by its deadline, even when libvirtd hangs. The outcome is then unknown and the error
//     wraps virt.ErrUnavailable. A libvirtd that is down or restarted is found again without help.
//   - It touches only domains that carry this cluster's stamp. Others are listed and refused (ErrForeign).
//   - An existing disk is never overwritten, but for the rescue disk, which each Build makes anew, and for what an
//     interrupted Import or Receive left, which no domain uses. Only RemoveDisks deletes one, and none in use.
//   - A copy, a save or a migration that goes on in libvirt after this daemon ended is found: a copy is broken off by
//     the next Capture, a migration is waited for by the next Migrate.
//   - Passphrases are in libvirtd's and QEMU's memory alone. When libvirtd has lost one, its domain that is off is
//     reported with generation 0, so that it is built anew before it is started.
//   - Nothing that a user can type becomes a path or an XML element: paths come from validated UUIDs.
//   - A filtered network card is filtered before its guest runs its first instruction, or the guest does not
//     start at all. Domains listen on no network socket, and never start by themselves.
//   - KVM is used only after it has run guest code here; see Prober.
//
// What it relies on: libvirtd keeps domain definitions over a restart; the caller runs at most one call per
// instance at a time; base images and kernels named by a Guest do not change while they are in use. When QEMU
// runs as its own user (Debian's default), that user must be able to pass through DataDir (mode o+x) and read
// the base images.
//
// What was seen of libvirt 9.0 and QEMU 7.2, and is relied on:
//   - A backup in push mode (virDomainBackupBegin) copies the disk as it was when the call returned, with all that
//     its base image holds, and the guest is not halted for it. Its job says how far it is, and how it ended.
//   - A peer-to-peer migration takes UNIX sockets for the other libvirtd (qemu+unix:///system?socket=...), the
//     memory (migrate_uri) and the disks (disks_uri), and goes on when the client that asked for it is gone. QEMU
//     listens at the destination under the paths that the source dials. With VIR_MIGRATE_NON_SHARED_INC only what
//     differs from the base image is copied, into an overlay of the same size that is there already.
//   - While a guest is being migrated, virDomainSuspend halts it, and it runs again where it arrives.
//   - A serial port on a UNIX socket writes its log whether somebody is connected or not.
//   - A request to unplug a device is lost on a guest that is still booting; it is repeated every few seconds.
//   - Managed save keeps the metadata of the moment: a restored domain carries the stamp that it was saved with.
//   - libvirt refuses PCI Express ports without an explicit root with index 0 in the definition.
//
// Concurrency: a Driver is safe for concurrent use. It runs two goroutines, one for events on a connection of
// their own and one that bounds console logs and finishes interrupted removals; Close waits for both.
//
// Testing: the XML, the filters and the KVM probe have tests of their own. The conformance suite of
// virt/virttest runs against a private libvirtd, with its test driver (no root needed) and, as root, with QEMU
// in namespaces of its own.
package libvirt
