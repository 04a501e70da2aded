// Package libvirt is the hypervisor driver for real guests: QEMU through the libvirtd of its own host.
//
// It speaks libvirt's RPC protocol over the local UNIX socket, so a host needs no listening libvirtd, no SSH
// and no cgo. Build renders a virt.Guest into domain XML, a qcow2 overlay and a config drive below
// DataDir/instances/<instance ID>; the domain's UUID is the instance's ID, and its metadata carries the stamp
// of the decision that it was built for.
//
// What it promises:
//   - Every call returns by its deadline, even when libvirtd hangs. The outcome is then unknown and the error
//     wraps virt.ErrUnavailable. A libvirtd that is down or restarted is found again without help.
//   - It touches only domains that carry this cluster's stamp. Others are listed and refused (ErrForeign).
//   - An existing disk is never overwritten, and only RemoveDisks deletes one.
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
// Concurrency: a Driver is safe for concurrent use. It runs two goroutines, one for events on a connection of
// their own and one that bounds console logs and finishes interrupted removals; Close waits for both.
//
// Testing: the XML, the filters and the KVM probe have tests of their own. The conformance suite of
// virt/virttest runs against a private libvirtd, with its test driver (no root needed) and, as root, with QEMU
// in namespaces of its own.
package libvirt
