// Package resttest is what tests of the OpenStack services share: a Backend in memory, a cloud to begin with, and golden
// shapes of real OpenStack replies to compare with.
//
// The Backend is the real replicated state without Raft under it: every command is encoded, decoded and applied, so what
// passes here has been through the same code as in a cluster. It can lose its quorum and lag behind on demand.
//
// A shape is what a reply has whatever it is about: its status, its headers, and the names and JSON types of its body.
// Golden files hold shapes in a format of our own (see shape.go); the program in shapegen makes them from recorded
// exchanges.
package resttest
