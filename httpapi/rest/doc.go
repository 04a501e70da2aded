// Package rest is what the OpenStack services of Kilonova share: who calls, what was sent, what goes back.
//
// A handler decodes, proposes and replies; every error leaves through Fail, which gives it the status of its
// code and the body shape of its service. Bodies are bounded in size and depth before they are parsed.
//
// What it relies on: a Backend that reads and changes the cluster's state. It knows no node, no Raft and no
// libvirt.
//
// Concurrency: everything here is safe for concurrent use; a Caller is not changed after it was made.
package rest
