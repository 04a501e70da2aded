// Package peernet is the peer port: one TLS listener for all that nodes say to each other.
//
// The protocol is chosen by ALPN. Raft's stream and the peers' HTTP need a certificate of role peer of a node that
// the cluster knows, on both ends; joining needs none, for a machine that joins has none yet, and reaches nothing
// but the join handler. Everything else is refused in the handshake.
//
// What it relies on: a Trust that says which nodes are members right now, and Credentials that can change (renewal)
// while the port is open.
//
// Concurrency: safe for concurrent use. Close ends the accept loop and waits for it.
package peernet
