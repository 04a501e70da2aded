// Package gossip tells a node which other nodes there are, which of them answer, and how much room they have.
//
// What it says is a hint. It is weakly consistent, may be wrong for a while in both directions, and nothing is ever
// decided or destroyed because of it alone: the replicated state says what is true, leases say who may run what.
//
// Promises. Only holders of a gossip key of the same cluster are heard; without a key nothing starts. A member's advert is
// at most MaxAdvert bytes and is sent again only when a level in it changes, a few times a minute at most, because a
// cluster can only spread about ten updates a second however large it is. Peers that were cut off for longer than
// memberlist remembers them are found again, from the addresses that Config.Peers gives. An advert that cannot be read
// is counted and ignored; its sender stays a member. Two machines that claim one node ID are reported.
//
// A member is Alive or Dead. Memberlist's third state, suspect, it keeps to itself: a suspect counts as Alive until it has
// not answered for the whole of the suspicion time (some 8 s on a LAN).
//
// It relies on hashicorp/memberlist, of which it is the only user, and on TCP and UDP between all nodes on one port.
//
// Concurrency: a Gossip may be used by many goroutines. Memberlist calls back while it holds its locks, so callbacks only
// store and wake; what they stored is read with Members, and Changed tells when to read again. Close waits for
// every goroutine of this package and for every connection. Those of memberlist itself end a probe later by themselves.
//
// Testing: gossiptest has a network in memory with machines that can be cut off. Tests run on it in a testing/synctest
// bubble, so minutes of gossip take milliseconds.
package gossip
