package sim_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

// A viewer connects, gets a picture, presses a key and gets another. The power goes, and so does the connection.
func TestDial_VNCShowsAPictureAndEndsWithThePower(t *testing.T) {
	d := open(t, sim.Config{})
	ctx := t.Context()
	must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm))
	c, err := d.Dial(ctx, vm, virt.ConsoleVNC)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	read := func(n int) []byte {
		t.Helper()
		b := make([]byte, n)
		_, err := io.ReadFull(c, b)
		must(t, err)
		return b
	}
	send := func(b ...byte) {
		t.Helper()
		_, err := c.Write(b)
		must(t, err)
	}
	version := read(12)
	send(version...)
	if offer := read(2); offer[0] != 1 || offer[1] != 1 {
		t.Fatalf("security types %v", offer)
	}
	send(1)
	read(4)
	send(1)
	hello := read(24)
	width, height := int(binary.BigEndian.Uint16(hello)), int(binary.BigEndian.Uint16(hello[2:]))
	if name := read(int(binary.BigEndian.Uint32(hello[20:]))); !strings.Contains(string(name), string(vm)) {
		t.Errorf("the screen is called %q", name)
	}
	picture := func() byte {
		t.Helper()
		head := read(16)
		if head[3] != 1 || binary.BigEndian.Uint32(head[12:]) != 0 {
			t.Fatalf("update %v", head)
		}
		return read(width * height * 4)[0]
	}
	send(2, 0, 0, 1, 0, 0, 0, 0)          // encodings: raw
	send(3, 0, 0, 0, 0, 0, 1, 64, 0, 200) // all of it
	first := picture()
	send(3, 1, 0, 0, 0, 0, 1, 64, 0, 200) // what changes
	send(4, 1, 0, 0, 0, 0, 0, 'a')
	if second := picture(); second == first {
		t.Error("a key changed nothing")
	}
	must(t, d.Stop(ctx, vm, virt.Destroy))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the power went: %v", err)
	}
}

// What is typed on the serial port comes back, and the guest answers.
func TestDial_SerialEchoesAndAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{})
		ctx := t.Context()
		must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm))
		time.Sleep(time.Minute)
		c, err := d.Dial(ctx, vm, virt.ConsoleSerial)
		must(t, err)
		defer c.Close()
		in := bufio.NewReader(c)
		answer(t, in, "web-1 login:")
		for _, s := range []struct{ typed, want string }{
			{"write hello\r", "write hello"}, {"cat\r", "hello\r\n# "}, {"uptime\r", "up 60.000 s, boot 1"}, {"dance\n", "not found"},
		} {
			_, err := io.WriteString(c, s.typed)
			must(t, err)
			answer(t, in, s.want)
		}
		if h := look(t, d); h.Wrote != "hello\n" {
			t.Errorf("on disk: %q", h.Wrote)
		}
		go io.Copy(io.Discard, in)
		_, err = io.WriteString(c, "poweroff\r")
		must(t, err)
		synctest.Wait()
		if p := power(t, d, vm); p != virt.PowerOff {
			t.Errorf("power %v", p)
		}
	})
}

// answer reads until what was read ends with the text.
func answer(t *testing.T, in *bufio.Reader, want string) {
	t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), want) {
		b, err := in.ReadByte()
		if err != nil {
			t.Fatalf("read %q, want %q: %v", got.String(), want, err)
		}
		got.WriteByte(b)
	}
}

// Whoever still looks at a console must not keep the node from stopping.
func TestClose_EndsConsoles(t *testing.T) {
	d := open(t, sim.Config{})
	must(t, d.Build(t.Context(), guest(vm)), d.Start(t.Context(), vm))
	for _, k := range []virt.ConsoleKind{virt.ConsoleSerial, virt.ConsoleVNC} {
		c, err := d.Dial(t.Context(), vm, k)
		must(t, err)
		defer c.Close()
	}
	must(t, d.Close())
}

// Viewers are strangers. What they send ends the connection at worst.
func FuzzVNC(f *testing.F) {
	f.Add([]byte("RFB 003.008\n\x01\x01"))
	f.Add([]byte("RFB 003.008\n\x01\x01\x03\x00\x00\x00\x00\x00\x01\x40\x00\xc8\x02\x00\xff\xff"))
	f.Add([]byte("RFB 003.008\n\x01\x01\x00\x00\x00\x00\x08aaaaaaaaaaaaaaa\x06\x00\x00\x00\xff\xff\xff\xff"))
	d, err := sim.New(sim.Config{})
	if err != nil {
		f.Fatal(err)
	}
	defer d.Close()
	if err := errors.Join(d.Build(f.Context(), guest(vm)), d.Start(f.Context(), vm)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := d.Dial(t.Context(), vm, virt.ConsoleVNC)
		if err != nil {
			t.Fatal(err)
		}
		feed(c, data)
	})
}

// feed sends all of it, unless the other end hangs up first.
func feed(c net.Conn, data []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, c)
	}()
	_, _ = c.Write(data)
	c.Close()
	<-done
}

// The password reaches nobody but the guest: neither its console nor an error nor the disk.
func TestSetPassword_NeedsAnAgentAndIsKeptNowhere(t *testing.T) {
	d := open(t, sim.Config{})
	ctx := t.Context()
	must(t, d.Build(ctx, guest(vm)), d.Start(ctx, vm))
	if err := d.SetPassword(ctx, vm, "root", "hunter2"); !errors.Is(err, virt.ErrUnsupported) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("without an agent: %v", err)
	}
	g := guest(vm)
	g.Properties = map[string]string{"hw_qemu_guest_agent": "yes"}
	must(t, d.Stop(ctx, vm, virt.Destroy), d.Build(ctx, g), d.Start(ctx, vm), d.SetPassword(ctx, vm, "root", "hunter2"))
	text := console(t, d, vm)
	if !strings.Contains(text, `password of "root" changed`) || strings.Contains(text, "hunter2") {
		t.Errorf("console %q", text)
	}
}
