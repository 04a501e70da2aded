// Package rafttest is an in-memory network for tests of raftfsm and of what is built on it.
//
// A Network has a Stream per address. Links between addresses can be cut, healed and slowed down, and a host can
// be unplugged with all its connections reset. A cut behaves like one in TCP: what was sent is kept and arrives
// after the link heals, and a dial waits until its context ends.
//
// Everything blocks on channels and timers only, so it runs under testing/synctest. All methods are safe for
// concurrent use.
package rafttest
