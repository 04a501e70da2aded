package main

import (
	"fmt"
	"strings"
	"time"
)

// toldCalled is what a node logs of each call to libvirt.
const toldCalled = `msg="called libvirt"`

// logSize is how much the server's node has logged.
func (d *duet) logSize() int {
	log, err := d.node.Daemon.Log()
	if err != nil {
		return 0
	}
	return len(log)
}

// calls adds up how long the named calls to libvirt took that the server's node has logged since its log had that size, each of them the
// longest one: what is by hand is done once, too.
func (d *duet) calls(since int, names []string) (all time.Duration, err error) {
	log, err := d.node.Daemon.Log()
	if err != nil {
		return 0, err
	}
	return sumCalls(log[min(since, len(log)):], names)
}

// sumCalls reads a node's log.
func sumCalls(log string, names []string) (all time.Duration, err error) {
	for _, name := range names {
		longest := time.Duration(-1)
		for line := range strings.Lines(log) {
			_, rest, found := strings.Cut(line, toldCalled+" call=\""+name+"\" took=")
			if !found {
				continue
			}
			took, err := time.ParseDuration(strings.TrimSpace(rest))
			if err != nil {
				return 0, fmt.Errorf("read the time of %q: %w", line, err)
			}
			longest = max(longest, took)
		}
		if longest < 0 {
			return 0, fmt.Errorf("the node has not logged its call of libvirt to %s", name)
		}
		all += longest
	}
	return all, nil
}
