// Package disk makes and changes the disk files of guests: empty ones and overlays by itself, the rest with qemu-img.
//
// What it promises: a file appears under its final name whole and synced, or not at all, and an existing file
// is never overwritten. Formats are always named, never guessed. Every qemu-img runs with a limit on its
// address space and processor time, with a deadline, and its output is bounded, because a crafted image can
// make it eat all three.
//
// What it relies on: the qemu-img command (Debian package qemu-utils) and prlimit (util-linux). Whoever hands
// over an image from outside has inspected it first (virt/image): qemu-img follows the backing file and data
// file that an image names. Needs no root, except to write where only root may.
//
// Concurrency: functions are safe for concurrent use with different paths. Calls for one path must not overlap
// (the node has one worker per instance).
package disk
