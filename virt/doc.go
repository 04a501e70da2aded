// Package virt runs the domains of one node.
//
// It holds the vocabulary that every hypervisor driver speaks (Guest, Domain, Driver) and the pure decision
// what to do next (Diff). The drivers are sub-packages: virt/libvirt for real guests and virt/sim for an
// in-process hypervisor with fault knobs. Both pass the same suite, virt/virttest.
//
// What it promises: Diff never asks for a domain to be started that the committed state does not want on
// this node, never asks for an unknown domain or disk to be destroyed, and asks for a disk to be removed
// only when it was given a committed tombstone.
//
// What it relies on: the caller passes a desired state that was committed, and repeats the pass until there
// is nothing left to do. Every driver call is idempotent, so repeating it after a crash is safe.
//
// Concurrency: the types are values. A Driver is safe for concurrent use; calls for one instance must not
// overlap (the node has one worker per instance).
package virt
