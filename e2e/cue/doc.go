// Package cue says what can go wrong during an operation, and where: which harm is done the how manieth time that a daemon comes by a place. Crash tests
// rehearse their operations, hear from the traces of failpoints which places these come by, and play what All gives for them; package crash with simulated
// guests, the stories of package e2e with real ones. Who does the harm, and what has to hold then, is theirs.
//
// Everything here is a pure function of its arguments, and safe for concurrent use. Its own tests need nothing.
package cue
