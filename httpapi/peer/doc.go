// Package peer is what nodes ask of each other over HTTP on the peer port, both ends: Router serves, Client asks.
//
// Commands travel in the encoding of the log; answers are JSON. A refusal crosses as its code and message, never as a
// Go error. ErrNotLeader crosses as 421 and is always safe to retry elsewhere; a broken connection leaves the outcome
// unknown, and the asker retries under the same request ID.
//
// What it relies on: the listener and the dialer prove that both ends are members. Nothing here checks it again,
// except that joining, which is served to strangers, has a router of its own.
//
// Concurrency: safe for concurrent use.
package peer
