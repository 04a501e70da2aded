package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ErrNotRoot says that a lab was asked for without the right to make namespaces, mounts and links.
var ErrNotRoot = errors.New("make a lab: it needs root, for namespaces, loop mounts and bridges; run as root or with sudo")

// Lab is a set of hosts on one machine, joined by two networks.
type Lab struct {
	claim  *claim
	fabric *fabric

	mu     sync.Mutex
	hosts  []*Host
	closed bool
}

// New makes an empty lab. It first removes what a killed lab left behind. The caller must Close it.
func New() (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	if err := Sweep(); err != nil {
		return nil, err
	}
	c, err := takeIndex()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(c.dir(), dataName), 0o755); err != nil {
		_ = c.release()
		return nil, fmt.Errorf("make lab: %w", err)
	}
	f, err := newFabric(c)
	if err != nil {
		_ = c.clean()
		_ = c.release()
		return nil, fmt.Errorf("make lab: %w", err)
	}
	return &Lab{claim: c, fabric: f}, nil
}

// Index is the lab's number, from 0: the third byte of its addresses.
func (l *Lab) Index() int { return l.claim.index }

// Dir is the lab's directory on the machine. Close removes it.
func (l *Lab) Dir() string { return l.claim.dir() }

// DataDir is where each host mounts its own disk: one path, different contents in each host, as on real hosts.
// Seen from the machine it is empty; use Host.Path to read a host's files.
func (l *Lab) DataDir() string { return filepath.Join(l.Dir(), dataName) }

// MachineAddress is the machine's own address on the management network.
func (l *Lab) MachineAddress() string { return management.address(l.Index(), 1).IP.String() }

// GuestNetwork returns the subnet (CIDR) of the guest network and the machine's address in it. Addresses from
// .10 up are free for guests.
func (l *Lab) GuestNetwork() (cidr, machine string) {
	return guests.subnet(l.Index()).String(), guests.address(l.Index(), 1).IP.String()
}

// Hosts returns the hosts in the order in which they were added.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hosts)
}

// Partition cuts the management network into groups: hosts reach each other only within a group. Hosts in no
// group, and the machine, keep reaching everybody. It replaces earlier partitions and drops.
func (l *Lab) Partition(ctx context.Context, groups ...[]*Host) error {
	return l.fabric.setCuts(ctx, func(cuts map[cut]bool) {
		clear(cuts)
		for i, a := range groups {
			for j, b := range groups {
				if i == j {
					continue
				}
				for _, from := range a {
					for _, to := range b {
						cuts[cut{management.cable(from.number), management.cable(to.number)}] = true
					}
				}
			}
		}
	})
}

// Drop silently drops what one host sends to another on the management network, in this direction only.
func (l *Lab) Drop(ctx context.Context, from, to *Host) error {
	return l.fabric.setCuts(ctx, func(cuts map[cut]bool) {
		cuts[cut{management.cable(from.number), management.cable(to.number)}] = true
	})
}

// Heal ends all partitions and drops. Unplugged hosts stay unplugged.
func (l *Lab) Heal(ctx context.Context) error {
	return l.fabric.setCuts(ctx, func(cuts map[cut]bool) { clear(cuts) })
}

// Close powers every host down and removes all that the lab made. It may be called more than once.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	hosts := l.hosts
	l.mu.Unlock()

	var errs []error
	for _, h := range hosts {
		errs = append(errs, h.PowerCut())
	}
	errs = append(errs, l.fabric.close(), l.claim.clean(), l.claim.release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close lab: %w", err)
	}
	return nil
}
