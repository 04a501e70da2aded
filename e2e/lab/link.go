package lab

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// listTries is how often the links are listed until nobody has made or removed one in the middle of that: other labs do.
const listTries = 100

// addBridge makes a bridge in the current network namespace and raises it.
func addBridge(name string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge %s: %w", name, err)
	}
	return raise(name)
}

// attach makes a link a port of a bridge and raises it.
func attach(name, bridge string) error {
	if err := enslave(name, bridge); err != nil {
		return err
	}
	return raise(name)
}

// enslave makes a link a port of a bridge.
func enslave(name, bridge string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find %s: %w", bridge, err)
	}
	if err := netlink.LinkSetMaster(link, master); err != nil {
		return fmt.Errorf("attach %s to %s: %w", name, bridge, err)
	}
	return nil
}

// raise gives a link its addresses and sets it up.
func raise(name string, addrs ...*netlink.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, a := range addrs {
		if err := netlink.AddrAdd(link, a); err != nil {
			return fmt.Errorf("add %s to %s: %w", a.IPNet, name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("raise %s: %w", name, err)
	}
	return nil
}

// readdress replaces an address of a link by another one.
func readdress(name string, from, to *netlink.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.AddrDel(link, from); err != nil { // first: with it would go all others of its subnet
		return fmt.Errorf("take %s from %s: %w", from.IPNet, name, err)
	}
	if err := netlink.AddrAdd(link, to); err != nil {
		return fmt.Errorf("add %s to %s: %w", to.IPNet, name, err)
	}
	return nil
}

// labLinks returns the machine's links of each lab index.
func labLinks() (map[int][]netlink.Link, error) {
	links, err := netlink.LinkList()
	for tries := 1; errors.Is(err, netlink.ErrDumpInterrupted) && tries < listTries; tries++ { // somebody made or removed one meanwhile
		links, err = netlink.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	found := map[int][]netlink.Link{}
	for _, l := range links {
		if i, ok := indexOfLink(l.Attrs().Name); ok {
			found[i] = append(found[i], l)
		}
	}
	return found, nil
}

// removeLinks removes the machine's links of one lab. One that is gone already is not an error.
func removeLinks(index int) error {
	links, err := labLinks()
	if err != nil {
		return err
	}
	for _, l := range links[index] {
		if err := netlink.LinkDel(l); err != nil && !isNoLink(err) {
			return fmt.Errorf("remove %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

func isNoLink(err error) bool { return errors.Is(err, unix.ENODEV) }
