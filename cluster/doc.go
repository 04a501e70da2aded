// Package cluster is the vocabulary of Kilonova and its replicated state.
//
// The nouns (Node, Instance, Image, ...) are plain values. A Command is one change that somebody wants; its Op
// says which. State applies commands, one after another, and is pure: no clock, no randomness, no I/O, no
// goroutines. The same commands in the same order give the same State, byte for byte, on every replica, so
// whatever a change needs of the outside world (times, IDs, keys, password hashes) stands in the command.
//
// A command can be refused. That is a normal, deterministic result (*Error) and still advances the index.
// A command that this build does not know, or cannot decode, is not refused: it is an error that must stop the
// replica, for skipping it would let the replicas part.
//
// Readers never see a State. They take a View: an immutable picture at one index, read without locks for as
// long as they like. Publishing a View costs the same whatever it holds, because tables are copied on write.
// Nouns reached through a View are shared and must not be changed; Clone first.
//
// Concurrency: a State has one writer and no other users. A View may be read by anyone, always.
//
// Testing: apply commands to a new State and look at its View. Golden files in testdata fix the encoding of
// every command; fields may be added, never renamed or given another meaning.
package cluster
