package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// network is one of the two networks of a lab.
type network struct {
	bridge string // its name in the fabric
	port   string // begins the name of a host's cable on the fabric's side
	second byte   // of its addresses
}

var (
	management = network{bridge: "mgmt", port: "m", second: 77}
	guests     = network{bridge: "lan", port: "g", second: 78}
)

func (n network) address(index int, host byte) *netlink.Addr {
	ip := net.IPv4(10, n.second, byte(index), host).To4()
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(24, 32)}}
}

func (n network) subnet(index int) *net.IPNet {
	a := n.address(index, 0)
	return a.IPNet
}

// cable returns the name of a host's end of the fabric: "m3" is the management cable of host 3.
func (n network) cable(host int) string { return fmt.Sprintf("%s%d", n.port, host) }

// machineLink returns the name of the machine's own end of its cable to this network.
func (n network) machineLink(index int) string {
	return fmt.Sprintf("%s%d-%s", linkPrefix, index, n.bridge)
}

// fabric is the network namespace with the bridges that join the hosts. It is apart from the machine's own,
// so firewalls and bridge settings of the machine do not touch it, and it vanishes with its holder.
type fabric struct {
	index int
	ns    *namespace

	mu     sync.Mutex
	cuts   map[cut]bool
	relays map[int]*relay // of rough cables, by host
}

// cut says that frames from one host's management cable do not reach another's, be they rough or not.
type cut struct{ from, to string }

func newFabric(c *claim) (*fabric, error) {
	ns, err := newNamespace(unix.CLONE_NEWNET, c.dir(), "echo up; exec cat >/dev/null")
	if err != nil {
		return nil, fmt.Errorf("start fabric: %w", err)
	}
	f := &fabric{index: c.index, ns: ns, cuts: map[cut]bool{}, relays: map[int]*relay{}}
	for _, n := range []network{management, guests} {
		if err := f.addNetwork(n); err != nil {
			_ = f.close()
			return nil, fmt.Errorf("make network %s: %w", n.bridge, err)
		}
	}
	return f, nil
}

// addNetwork makes a bridge and the machine's cable to it.
func (f *fabric) addNetwork(n network) error {
	if err := f.ns.do(func() error { return addBridge(n.bridge) }); err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: n.machineLink(f.index)},
		PeerName:      "machine-" + n.bridge,
		PeerNamespace: netlink.NsFd(f.ns.file("net").Fd()),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add %s: %w", veth.Name, err)
	}
	if err := raise(veth.Name, n.address(f.index, 1)); err != nil {
		return err
	}
	return f.ns.do(func() error { return attach(veth.PeerName, n.bridge) })
}

// connect lays both cables of a host: eth0 with its address, which ends in address, and eth1 as the uplink of its bridge br0.
func (f *fabric) connect(host int, address byte, ns *namespace) error {
	for _, c := range []struct {
		network
		inside string
	}{{management, "eth0"}, {guests, "eth1"}} {
		err := f.ns.do(func() error {
			veth := &netlink.Veth{
				LinkAttrs:     netlink.LinkAttrs{Name: c.cable(host)},
				PeerName:      c.inside,
				PeerNamespace: netlink.NsFd(ns.file("net").Fd()),
			}
			if err := netlink.LinkAdd(veth); err != nil {
				return fmt.Errorf("add %s: %w", veth.Name, err)
			}
			return attach(veth.Name, c.bridge)
		})
		if err != nil {
			return fmt.Errorf("lay cable to host %d: %w", host, err)
		}
	}
	return ns.do(func() error {
		if err := raise("lo"); err != nil {
			return err
		}
		if err := raise("eth0", management.address(f.index, address)); err != nil {
			return err
		}
		if err := addBridge(hostBridge); err != nil {
			return err
		}
		return attach("eth1", hostBridge)
	})
}

// disconnect removes the cables of a host, which its end of the namespace may already have taken along.
func (f *fabric) disconnect(host int) error {
	smoothed := f.smooth(host)
	return errors.Join(smoothed, f.ns.do(func() error {
		for _, n := range []network{management, guests} {
			link, err := netlink.LinkByName(n.cable(host))
			if err != nil {
				continue
			}
			if err := netlink.LinkDel(link); err != nil && !isNoLink(err) {
				return fmt.Errorf("remove %s: %w", n.cable(host), err)
			}
		}
		return nil
	}))
}

// plug raises or lowers the fabric's end of a host's cable.
func (f *fabric) plug(n network, host int, up bool) error {
	return f.ns.do(func() error {
		link, err := netlink.LinkByName(n.cable(host))
		if err != nil {
			return fmt.Errorf("find %s: %w", n.cable(host), err)
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

// setCuts replaces the set of cut paths by what change makes of it.
func (f *fabric) setCuts(ctx context.Context, change func(map[cut]bool)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.cuts)
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(renderCuts(f.cuts))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := f.ns.do(cmd.Start); err != nil {
		return fmt.Errorf("start nft: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("set cuts: %w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// renderCuts returns an nft script that replaces the lab's table, in one transaction.
func renderCuts(cuts map[cut]bool) string {
	var rules []string
	for c := range cuts {
		rules = append(rules, fmt.Sprintf("\t\tiifname { %q, %q } oifname { %q, %q } drop\n", c.from, roughPort(c.from), c.to, roughPort(c.to)))
	}
	slices.Sort(rules)
	return "table bridge lab {}\ndelete table bridge lab\ntable bridge lab {\n" +
		"\tchain forward {\n\t\ttype filter hook forward priority 0;\n" + strings.Join(rules, "") + "\t}\n}\n"
}

// close takes the fabric away, and with it all cables.
func (f *fabric) close() error {
	err := f.ns.kill()
	if lerr := removeLinks(f.index); err == nil {
		err = lerr
	}
	return err
}
