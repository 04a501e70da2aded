package libvirt

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
)

const (
	ownMAC   = "fa:16:3e:00:00:01"
	otherMAC = "fa:16:3e:00:00:02"
	ownIP    = "192.0.2.10"
	ownIP2   = "192.0.2.11"
	otherIP  = "192.0.2.99"
	ownIP6   = "2001:db8::10"
	otherIP6 = "2001:db8::99"
	ownLocal = "fe80::f816:3eff:fe00:1"
	anyIP    = "0.0.0.0"
	anyIP6   = "::"
)

// frame is one that a guest may try to send.
type frame struct {
	what     string
	bytes    []byte
	arrives  bool // with both kinds of address known
	arrives6 bool // with IPv6 addresses only
	arrivesM bool // with only the MAC known
}

// frames are the honest ones and every kind of lie that the filters are for.
func frames() []frame {
	return []frame{
		{"own IPv4", ether(ownMAC, 0x0800, ip4(ownIP, 17, 1000, 2000)), true, false, true},
		{"second own IPv4", ether(ownMAC, 0x0800, ip4(ownIP2, 6, 1000, 2000)), true, false, true},
		{"another's IPv4", ether(ownMAC, 0x0800, ip4(otherIP, 17, 1000, 2000)), false, false, true},
		{"own IPv4 from another's MAC", ether(otherMAC, 0x0800, ip4(ownIP, 17, 1000, 2000)), false, false, false},
		{"DHCP request", ether(ownMAC, 0x0800, ip4(anyIP, 17, 68, 67)), true, false, true},
		{"DHCP server's answer without an address", ether(ownMAC, 0x0800, ip4(anyIP, 17, 67, 68)), false, false, true},
		{"own ARP", ether(ownMAC, 0x0806, arp(ownMAC, ownIP)), true, false, true},
		{"ARP probe", ether(ownMAC, 0x0806, arp(ownMAC, anyIP)), true, false, true},
		{"ARP for another's address", ether(ownMAC, 0x0806, arp(ownMAC, otherIP)), false, false, true},
		{"ARP for another's MAC", ether(ownMAC, 0x0806, arp(otherMAC, ownIP)), false, false, false},
		{"own IPv6", ether(ownMAC, 0x86dd, ip6(ownIP6, 17)), true, true, true},
		{"own link-local IPv6", ether(ownMAC, 0x86dd, ip6(ownLocal, 58)), true, true, true},
		{"another's IPv6", ether(ownMAC, 0x86dd, ip6(otherIP6, 17)), false, false, true},
		{"another's link-local IPv6", ether(ownMAC, 0x86dd, ip6("fe80::1", 58)), false, false, true},
		{"own IPv6 from another's MAC", ether(otherMAC, 0x86dd, ip6(ownIP6, 17)), false, false, false},
		{"IPv6 duplicate address detection", ether(ownMAC, 0x86dd, ip6(anyIP6, 58)), true, true, true},
		{"UDP without an IPv6 address", ether(ownMAC, 0x86dd, ip6(anyIP6, 17)), false, false, true},
		{"VLAN tag around an honest packet", ether(ownMAC, 0x8100, append([]byte{0, 5, 8, 0}, ip4(ownIP, 17, 1, 2)...)), false, false, true},
		{"unknown protocol", ether(ownMAC, 0x88b5, make([]byte, 46)), false, false, true},
		{"announcement after a migration", ether(ownMAC, 0x8035, rarp(ownMAC)), true, true, true},
	}
}

// A guest that lies about its MAC, its addresses or its neighbours' must not be heard. The filter is libvirt's
// own, applied to a port of a bridge on which the test sends; the rules do not know that it is no guest.
func TestFilter_LiesDoNotArrive(t *testing.T) {
	d := needQEMU(t)
	both := []string{ownIP, ownIP2, ownIP6}
	for _, c := range []struct {
		name      string
		addresses []string
		arrives   func(frame) bool
	}{
		{filterBoth, both, func(f frame) bool { return f.arrives }},
		{filterSix, []string{ownIP6}, func(f frame) bool { return f.arrives6 }},
		{filterMAC, nil, func(f frame) bool { return f.arrivesM }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, d)
			w.bind(t, virt.NIC{MAC: ownMAC, Addresses: c.addresses}, c.name)
			for i, f := range frames() {
				if got, want := w.passes(t, i, f.bytes), c.arrives(f); got != want {
					t.Errorf("%s: arrives %v, want %v", f.what, got, want)
				}
			}
			w.guest, w.peer = w.peer, w.guest
			if !w.passes(t, 99, ether(otherMAC, 0x0800, ip4(otherIP, 17, 1, 2))) {
				t.Error("a neighbour's packet does not reach the guest")
			}
		})
	}
}

// Without the filter every frame arrives: the wire itself drops nothing, so the test above can fail.
func TestFilter_WithoutItLiesArrive(t *testing.T) {
	w := newWire(t, needQEMU(t))
	for i, f := range frames() {
		if !w.passes(t, i, f.bytes) {
			t.Errorf("%s: does not arrive on an unfiltered wire", f.what)
		}
	}
}

// wire is a bridge with two devices on it, and packet sockets at their far ends.
type wire struct {
	daemon      *daemon
	port        string
	guest, peer int // sockets
}

func newWire(t *testing.T, d *daemon) *wire {
	t.Helper()
	script := `ip link add kng0 type veth peer name kng1
ip link add knp0 type veth peer name knp1
for i in kng0 kng1 knp0 knp1; do sysctl -qw net.ipv6.conf.$i.disable_ipv6=1 || true; ip link set $i up; done
ip link set kng0 master br0
ip link set knp0 master br0`
	if out, err := d.inside("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("make devices: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := d.inside("sh", "-c", "ip link del kng0; ip link del knp0").CombinedOutput(); err != nil {
			t.Errorf("remove devices: %v: %s", err, out)
		}
	})
	w := &wire{daemon: d, port: "kng0"}
	w.guest, w.peer = packetSocket(t, d, "kng1"), packetSocket(t, d, "knp1")
	return w
}

// packetSocket opens a raw socket on a device of the daemon's network namespace.
func packetSocket(t *testing.T, d *daemon, device string) int {
	t.Helper()
	type result struct {
		fd  int
		err error
	}
	got := make(chan result)
	go func() {
		runtime.LockOSThread() // the thread changes its namespace, so it ends with this goroutine
		fd, err := func() (int, error) {
			ns, err := os.Open(d.netns)
			if err != nil {
				return 0, err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return 0, err
			}
			index, err := net.InterfaceByName(device)
			if err != nil {
				return 0, err
			}
			every := int(htons(unix.ETH_P_ALL))
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, every)
			if err != nil {
				return 0, err
			}
			return fd, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index.Index})
		}()
		got <- result{fd, err}
	}()
	r := <-got
	if r.err != nil {
		t.Fatalf("open a packet socket on %s: %v", device, r.err)
	}
	t.Cleanup(func() { unix.Close(r.fd) })
	return r.fd
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// bind applies the filter of a card to the wire's port.
func (w *wire) bind(t *testing.T, n virt.NIC, want string) {
	t.Helper()
	r := newRig(t, w.daemon, DefaultURI)
	if err := r.Driver.(*Driver).defineFilters(t.Context()); err != nil {
		t.Fatal(err)
	}
	ref, err := filterFor(n)
	if err != nil || ref.Filter != want {
		t.Fatalf("filter is %+v (%v), want %s", ref, err, want)
	}
	b := libvirtxml.NWFilterBinding{
		Owner:     &libvirtxml.NWFilterBindingOwner{Name: "test", UUID: string("00000000-0000-4000-8000-0000000000bb")},
		PortDev:   &libvirtxml.NWFilterBindingPortDev{Name: w.port},
		MAC:       &libvirtxml.NWFilterBindingMAC{Address: n.MAC},
		FilterRef: &libvirtxml.NWFilterBindingFilterRef{Filter: ref.Filter},
	}
	for _, p := range ref.Parameters {
		b.FilterRef.Parameters = append(b.FilterRef.Parameters, libvirtxml.NWFilterBindingFilterParam(p))
	}
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bound, err := ask(t.Context(), r.behind, "bind filter", func(l *rpc.Libvirt) (rpc.NwfilterBinding, error) {
		return l.NwfilterBindingCreateXML(text, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tell(context.Background(), r.behind, "unbind", func(l *rpc.Libvirt) error { return l.NwfilterBindingDelete(bound) }); err != nil {
			t.Log(err)
		}
	})
}

// passes sends a frame and, after it, an honest one that every filter lets through; it tells whether the first
// came out at the other end before the second did.
func (w *wire) passes(t *testing.T, n int, f []byte) bool {
	t.Helper()
	mark, end := payload(f), ip6(ownIP6, 17)
	binary.BigEndian.PutUint16(end[len(end)-6:], uint16(10_000+n)) // its destination port
	for _, b := range [][]byte{f, ether(ownMAC, 0x86dd, end)} {
		if _, err := unix.Write(w.guest, pad(b)); err != nil {
			t.Fatalf("send: %v", err)
		}
	}
	tv := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(w.peer, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 2048)
	seen := false
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		size, err := unix.Read(w.peer, buffer)
		if err != nil {
			continue // a timeout, or a signal
		}
		seen = seen || bytes.Contains(buffer[:size], mark)
		if bytes.Contains(buffer[:size], end) {
			return seen
		}
	}
	out, _ := w.daemon.inside("ebtables", "-t", "nat", "-L", "--Lc").CombinedOutput()
	t.Fatalf("not even an honest frame arrives:\n%s", out)
	return false
}

// payload is what a frame carries. A packet socket takes a VLAN tag off the frames that it receives.
func payload(f []byte) []byte {
	if binary.BigEndian.Uint16(f[12:]) == 0x8100 {
		return f[18:]
	}
	return f[14:]
}

// pad fills a frame up to Ethernet's minimum.
func pad(b []byte) []byte { return append(bytes.Clone(b), make([]byte, max(0, 60-len(b)))...) }

func ether(source string, kind uint16, payload []byte) []byte {
	from, _ := net.ParseMAC(source)
	b := append(bytes.Repeat([]byte{0xff}, 6), from...)
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

func ip4(source string, protocol byte, from, to uint16) []byte {
	b := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0}
	b = append(b, netip.MustParseAddr(source).AsSlice()...)
	b = append(b, 192, 0, 2, 1)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, from), to)
	return append(b, 0, 8, 0, 0)
}

func ip6(source string, protocol byte) []byte {
	b := []byte{0x60, 0, 0, 0, 0, 8, protocol, 255}
	b = append(b, netip.MustParseAddr(source).AsSlice()...)
	b = append(b, netip.MustParseAddr("2001:db8::1").AsSlice()...)
	if protocol == 58 {
		return append(b, 135, 0, 0, 0, 0, 0, 0, 0) // neighbour solicitation
	}
	return append(b, 0, 1, 0, 2, 0, 8, 0, 0)
}

func arp(mac, ip string) []byte { return arpLike(1, mac, ip) }

func rarp(mac string) []byte { return arpLike(3, mac, anyIP) }

func arpLike(operation byte, mac, ip string) []byte {
	from, _ := net.ParseMAC(mac)
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, operation}, from...)
	b = append(b, netip.MustParseAddr(ip).AsSlice()...)
	b = append(b, from...)
	return append(b, 192, 0, 2, 1)
}
