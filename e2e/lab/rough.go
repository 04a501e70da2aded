package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxFrame holds the largest frame that a host hands over in one piece (64 KiB, which its network card would cut), with its headers and what
// PACKET_VNET_HDR puts before it.
const maxFrame = 72 << 10

// Roughen makes the host's cable to the management network a rough one, until Smooth or PowerCut: the kernel of a lab need not have
// sch_netem. The fabric's end of the cable leaves the bridge, another pair of ends is put between, and this process carries the frames. A cable that is rough becomes
// as rough as it is told last.
func (h *Host) Roughen(r Rough) error {
	if err := h.Smooth(); err != nil {
		return err
	}
	if err := h.lab.fabric.roughen(h.number, r); err != nil {
		return fmt.Errorf("roughen the cable of %s: %w", h.Name, err)
	}
	return nil
}

// Smooth makes the cable as it was. What is on its way is lost. A cable that is not rough stays as it is.
func (h *Host) Smooth() error {
	if err := h.lab.fabric.smooth(h.number); err != nil {
		return fmt.Errorf("smooth the cable of %s: %w", h.Name, err)
	}
	return nil
}

// roughPort is the name of what is in the bridge in place of a cable while that is rough; wireEnd is the other end of it.
func roughPort(cable string) string { return cable + "r" }
func wireEnd(cable string) string   { return cable + "w" }

func (f *fabric) roughen(host int, r Rough) error {
	cable := management.cable(host)
	var sockets []*os.File
	err := f.ns.do(func() error {
		link, err := netlink.LinkByName(cable)
		if err != nil {
			return fmt.Errorf("find %s: %w", cable, err)
		}
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: roughPort(cable)}, PeerName: wireEnd(cable)}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("add %s: %w", pair.Name, err)
		}
		if err := errors.Join(raise(wireEnd(cable)), attach(pair.Name, management.bridge)); err != nil {
			return err
		}
		for _, name := range []string{cable, wireEnd(cable)} {
			s, err := packetSocket(name)
			if err != nil {
				return err
			}
			sockets = append(sockets, s)
		}
		return netlink.LinkSetNoMaster(link)
	})
	if err != nil {
		for _, s := range sockets {
			_ = s.Close()
		}
		return errors.Join(err, f.ns.do(func() error { return dropLink(roughPort(cable)) }))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relays[host] = newRelay(sockets[0], sockets[1], r)
	return nil
}

func (f *fabric) smooth(host int) error {
	f.mu.Lock()
	r := f.relays[host]
	delete(f.relays, host)
	f.mu.Unlock()
	if r == nil {
		return nil
	}
	cable := management.cable(host)
	return errors.Join(r.close(), f.ns.do(func() error {
		if err := dropLink(roughPort(cable)); err != nil {
			return err
		}
		if _, err := netlink.LinkByName(cable); err != nil {
			return nil // it went with its host's power
		}
		return enslave(cable, management.bridge)
	}))
}

// dropLink removes a link of the current network namespace, if it is there.
func dropLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil
	}
	if err := netlink.LinkDel(link); err != nil && !isNoLink(err) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// packetSocket opens a link of the current network namespace: what comes in is read from it, and what is written to it goes out (packet(7)). Before each frame
// is what the kernel has put off for it (PACKET_VNET_HDR): checksums that nobody has worked out yet, and large frames that are not cut yet.
func packetSocket(link string) (*os.File, error) {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", link, err)
	}
	const everything = uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8 // in the network's order
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket on %s: %w", link, err)
	}
	f := os.NewFile(uintptr(s), link)
	for _, option := range []int{unix.PACKET_VNET_HDR, unix.PACKET_IGNORE_OUTGOING} {
		if err := unix.SetsockoptInt(s, unix.SOL_PACKET, option, 1); err != nil {
			return nil, errors.Join(fmt.Errorf("open a socket on %s: %w", link, err), f.Close())
		}
	}
	if err := unix.Bind(s, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: l.Attrs().Index}); err != nil {
		return nil, errors.Join(fmt.Errorf("open a socket on %s: %w", link, err), f.Close())
	}
	return f, nil
}

// relay carries frames between two links. Its goroutines end with close.
type relay struct {
	links [2]*os.File
	done  chan struct{}
	work  sync.WaitGroup

	mu    sync.Mutex
	fault error // the first
}

func newRelay(a, b *os.File, rough Rough) *relay {
	r := &relay{links: [2]*os.File{a, b}, done: make(chan struct{})}
	for i, from := range r.links {
		w := &way{line: newLine(rough, uint64(i)), poke: make(chan struct{}, 1)}
		r.work.Go(func() { r.take(from, w) })
		r.work.Go(func() { r.give(r.links[1-i], w) })
	}
	return r
}

func (r *relay) close() error {
	close(r.done)
	err := errors.Join(r.links[0].Close(), r.links[1].Close())
	r.work.Wait()
	return errors.Join(err, r.fault)
}

// way is one direction.
type way struct {
	mu   sync.Mutex
	line *line
	poke chan struct{} // a frame came; holds one
}

// take reads frames until the relay is closed.
func (r *relay) take(from *os.File, w *way) {
	buffer := make([]byte, maxFrame)
	for {
		n, err := from.Read(buffer)
		if err != nil && !r.bears(err) {
			return
		}
		if n == 0 {
			continue
		}
		w.mu.Lock()
		w.line.put(buffer[:n], time.Now())
		w.mu.Unlock()
		select {
		case w.poke <- struct{}{}:
		default:
		}
	}
}

// give writes frames when they are due, until the relay is closed.
func (r *relay) give(to *os.File, w *way) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.done:
			return
		case <-timer.C:
		case <-w.poke:
		}
		for {
			w.mu.Lock()
			b, next := w.line.take(time.Now())
			w.mu.Unlock()
			if b == nil {
				if !next.IsZero() {
					timer.Reset(time.Until(next))
				}
				break
			}
			if _, err := to.Write(b); err != nil && !r.bears(err) {
				return
			}
		}
	}
}

// bears tells whether an error is one of those that a cable has, and notes others.
func (r *relay) bears(err error) bool {
	switch {
	case errors.Is(err, os.ErrClosed):
		return false
	case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENOBUFS): // unplugged, gone with its host, and full
		select {
		case <-r.done:
			return false
		case <-time.After(releasePoll): // a link that is gone stays gone until the relay is closed
			return true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil {
		r.fault = err
	}
	return false
}
