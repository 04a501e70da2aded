package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	falseMAC     = "02:00:00:00:00:66"
	falseAddress = 251 // last byte of an address that is nobody's
)

// liar is user data of a guest that first says who it is, and then pretends to be others. It prints that it is through, and does not
// wait for answers that cannot come.
const liar = `
honest=$(ip -4 addr show dev eth0 | sed -n 's|.*inet \([0-9.]*\)/.*|\1|p')
ping -c 2 -w 10 %[1]s && echo HONEST
ip addr add %[2]s/24 dev eth0
ping -c 2 -w 3 -I %[2]s %[1]s
arping -c 2 -w 3 -I eth0 -s %[2]s %[1]s
ip addr del %[2]s/24 dev eth0
ip link set eth0 down
ip link set eth0 address %[3]s
ip link set eth0 up
ping -c 2 -w 3 %[1]s
echo THROUGH as $honest
`

// A guest sends with an address that is not its own, and with a MAC that is not its own. None of that arrives at the machine beside it
// on the network, although its honest packets do. That they would arrive shows a second guest, whose port has its security switched off.
func (g *guests) spoof(s *stage) {
	heard := listen(s.t, g.machine)
	falseIP := fmt.Sprintf("%s%d", g.subnet, falseAddress)
	script := fmt.Sprintf(liar, g.machine, falseIP, falseMAC)

	guarded := s.bootWithScript(s.Nodes[0], "liar", script)
	s.waitConsole(s.Nodes[0], guarded.ID, `(?s)HONEST.*THROUGH as `, bootLimit)
	if !heard.from(guarded.ip()) {
		s.t.Error("nothing of the guest's honest packets was heard: this test shows nothing")
	}
	if heard.from(falseIP) || heard.from(falseMAC) {
		s.t.Errorf("lies arrived: %v", heard.all())
	}
	s.openstack(s.Nodes[0], "server", "delete", "--wait", guarded.ID)

	port := strings.TrimSpace(s.openstack(s.Nodes[1], "port", "create", "--network", "lan", "--disable-port-security", "-f", "value", "-c", "id", "open"))
	open := s.bootWithScript(s.Nodes[1], "open liar", script, "--nic", "port-id="+port)
	s.waitConsole(s.Nodes[1], open.ID, `(?s)HONEST.*THROUGH as `, bootLimit)
	if !heard.from(falseIP) || !heard.from(falseMAC) {
		s.t.Errorf("the lies of a port without security did not arrive, so the guarded ones prove nothing: %v", heard.all())
	}
	s.openstack(s.Nodes[1], "server", "delete", "--wait", open.ID)
	s.openstack(s.Nodes[1], "port", "delete", port)
}

// ears collect who sent frames on a network.
type ears struct {
	mu      sync.Mutex
	senders map[string]bool // MAC addresses and IP addresses
}

// listen hears every frame that arrives at the machine's interface with an address, until the test ends.
func listen(t *testing.T, address string) *ears {
	t.Helper()
	every := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)) // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(every))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every, Ifindex: interfaceOf(t, address)}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		t.Fatal(err)
	}
	e := &ears{senders: map[string]bool{}}
	done := make(chan struct{})
	var hearing sync.WaitGroup
	hearing.Go(func() {
		frame := make([]byte, 2048)
		for {
			n, _, err := unix.Recvfrom(fd, frame, 0)
			if err == nil {
				e.note(frame[:n])
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	t.Cleanup(func() {
		close(done)
		hearing.Wait()
		_ = unix.Close(fd)
	})
	time.Sleep(100 * time.Millisecond)
	return e
}

func interfaceOf(t *testing.T, address string) int {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if strings.HasPrefix(a.String(), address+"/") {
				return i.Index
			}
		}
	}
	t.Fatalf("no interface has address %s", address)
	return 0
}

// note writes down the senders of an Ethernet frame: its MAC, the source of IPv4, and both senders of ARP (RFC 826).
func (e *ears) note(frame []byte) {
	if len(frame) < 42 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.senders[net.HardwareAddr(frame[6:12]).String()] = true
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		e.senders[netip.AddrFrom4([4]byte(frame[26:30])).String()] = true
	case unix.ETH_P_ARP:
		e.senders[net.HardwareAddr(frame[22:28]).String()] = true
		e.senders[netip.AddrFrom4([4]byte(frame[28:32])).String()] = true
	}
}

func (e *ears) from(sender string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.senders[sender]
}

func (e *ears) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for s := range e.senders {
		all = append(all, s)
	}
	return all
}
