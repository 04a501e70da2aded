package main

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A twin shares nothing with its server that two domains on a host must not share, and bears no stamp.
func TestTwinXML_SharesNothing(t *testing.T) {
	const id, other = "0a1b2c3d-0000-4000-8000-000000000001", "ffffffff-1111-4222-8333-444444444444"
	got := twinXML(`<domain><name>instance-`+id+`</name><uuid>`+id+`</uuid>
<metadata><kilonova:instance>`+id+`</kilonova:instance>
</metadata><disk><source file='/data/instances/`+id+`/disks-1/root'/><serial>0a1b2c3d000040008000</serial></disk>
<interface><mac address='fa:16:3e:01:02:03'/><target dev='tap0123abcd-ef'/></interface></domain>`, id, other)
	for _, left := range []string{id, "metadata", "kilonova", "0a1b2c3d000040008000", "fa:16:3e:01:02:03", "tap0123abcd-ef"} {
		if strings.Contains(got, left) {
			t.Errorf("the twin has %q of the server's:\n%s", left, got)
		}
	}
	if name, err := nameOf(got); err != nil || name != "instance-"+other {
		t.Errorf("nameOf = %q, %v", name, err)
	}
	if _, err := nameOf("<domain/>"); err == nil {
		t.Error("a domain without a name has one")
	}
}

// The example follows proc(5).
func TestParseReceived_ReadsTheLink(t *testing.T) {
	const text = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n" +
		"    lo:     100       1    0    0    0     0          0         0      100       1\n" +
		"  eth0: 4096000    2000    0    0    0     0          0         0     1234      10\n"
	if n, err := parseReceived(text, "eth0"); err != nil || n != 4096000 {
		t.Errorf("parseReceived = %d, %v", n, err)
	}
	for _, broken := range []string{"", "eth0:", "eth0: x"} {
		if _, err := parseReceived(broken, "eth0"); err == nil {
			t.Errorf("parseReceived(%q) takes it", broken)
		}
	}
}

// The lines are those of a node that takes an instance with two disks.
func TestCopies_AddsUpAllDisks(t *testing.T) {
	const log = `time=2026-11-23T05:18:00.100Z level=INFO msg="copied a disk" instance=a disk=root bytes=1000
time=2026-11-23T05:18:00.200Z level=INFO msg=other
time=2026-11-23T05:18:01.500Z level=INFO msg="copied a disk" instance=a disk=ephemeral bytes=24
`
	last, data, err := copies(log)
	if want := time.Date(2026, 11, 23, 5, 18, 1, 500e6, time.UTC); err != nil || data != 1024 || !last.Equal(want) {
		t.Errorf("copies = %v, %d, %v", last, data, err)
	}
	for _, broken := range []string{"", "time=x " + toldCopied + " bytes=1", "time=2026-11-23T05:18:00.100Z " + toldCopied + " bytes="} {
		if _, _, err := copies(broken); err == nil {
			t.Errorf("copies(%q) takes it", broken)
		}
	}
}

// The two ends of a stream find each other in either order, and every byte is counted.
func TestStreams_SendAndReceive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	received := make(chan error, 1)
	go func() {
		received <- streams(t.Context(), []string{"receive", address, filepath.Join(t.TempDir(), "sink")}, &out)
	}()
	if err := streams(t.Context(), []string{"send", address, "3000000"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	if rate, err := strconv.ParseFloat(strings.TrimSpace(out.String()), 64); err != nil || rate <= 0 {
		t.Errorf("received at %q, %v", out.String(), err)
	}
	for _, broken := range [][]string{nil, {"send"}, {"send", address, "many"}, {"receive"}} {
		if err := streams(context.Background(), broken, nil); err == nil {
			t.Errorf("streams(%q) takes it", broken)
		}
	}
}

// What goes into a relay comes out at the other end, and the end of one way is not that of the other.
func TestRelay_PassesOnBothWays(t *testing.T) {
	there := filepath.Join(t.TempDir(), "far")
	far, err := net.Listen("unix", there)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := net.Listen("unix", filepath.Join(t.TempDir(), "near"))
	if err != nil {
		t.Fatal(err)
	}
	r := &relays{listeners: []net.Listener{near}}
	r.wg.Go(func() { r.accept(near, there) })
	conn, err := net.Dial("unix", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	end, err := far.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ask := make([]byte, 4)
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := end.Read(ask); err != nil || string(ask[:n]) != "ping" {
		t.Fatalf("read %q, %v", ask, err)
	}
	if _, err := end.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(ask); err != nil || string(ask[:n]) != "pong" {
		t.Fatalf("read %q, %v", ask, err)
	}
	if err := end.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}
