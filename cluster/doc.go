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
// What it promises, at every index, and what View.Verify checks: indexes, allocations and usage are what the records
// add up to; names, addresses and MACs are unique where they must be; records that name each other agree. Room on a
// node, quotas and revisions are checked by Apply again whatever the proposer saw. A refused command changes nothing
// but index and time. A snapshot is read whole or not at all.
//
// What it relies on: commands come in the same order with the same indexes everywhere. IDs are fresh: who proposes
// draws them at random. A RequestID is unique among all who ask, so a key that a client chose is joined with who the
// client is before it becomes one. Time moves on with the fastest clock among the proposers and never back, so a leader
// must not propose a time that is far ahead of its own.
//
// The encodings: log entries and snapshots are CBOR (RFC 8949, core deterministic) with the JSON tags as names. A field
// that the reader does not know is an error, so a leader uses a new field or kind only when every node knows its
// CommandVersion. A field that is added has omitempty, so that what older builds wrote still encodes to the same bytes.
//
// Where things are: nouns in a file each, ops in op_*.go, their rules in apply_*.go, the only code that
// writes tables in write_*.go, bounds in limits.go and validate.go.
//
// Concurrency: a State has one writer and no other users. A View may be read by anyone, always.
//
// Testing: apply commands to a new State and look at its View. Golden files in testdata fix the encoding of every
// command (go test -update adds those that are missing). A property test applies random commands to three replicas
// and to a dumb count of everything; the decoders are fuzzed.
package cluster
