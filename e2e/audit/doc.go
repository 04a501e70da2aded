// Package audit finds out from outside whether a cluster kept its promises to instances: it reads what simulated hosts write down, and compares
// it with what the API says.
//
// A Tail follows the file of one host. A Chronicle takes in what all hosts wrote, in any order, and tells when an instance ran on two hosts at
// the same time, however short that was, since hosts write to the microsecond when a guest's processors ran. An Account is what the API and the hosts say at a
// moment when nothing is under way; its Faults are where they do not agree, and what is left over.
//
// It promises that what it finds is there; what happened to a host that lost its power is only known to whoever cut it (CutPower), and so is what a
// watchdog would have done where there is none (Ended).
//
// It relies on the format of the records of package virt/sim, and on hosts whose clocks are one. Whom to ask and when is the business of e2e/crash and e2e/chaos.
//
// Concurrency: a Chronicle is safe for concurrent use; all else belongs to one goroutine.
//
// Testing: histories and accounts are made up, and each mistake that is to be found is planted in one.
package audit
