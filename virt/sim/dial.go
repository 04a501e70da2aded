package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Dial connects to a console. The connection ends with the guest's power.
func (d *Driver) Dial(ctx context.Context, id cluster.InstanceID, c virt.ConsoleKind) (net.Conn, error) {
	return act(ctx, d, OpDial, func() (net.Conn, error) {
		r, ok := d.records[id]
		if err := onlyUp(OpDial, id, r, ok); err != nil {
			return nil, err
		}
		serve := map[virt.ConsoleKind]func(cluster.InstanceID, net.Conn) error{
			virt.ConsoleVNC: d.serveVNC, virt.ConsoleSerial: d.serveSerial,
		}[c]
		if serve == nil {
			return nil, fmt.Errorf("dial %s: a console of kind %q: %w", id, c, virt.ErrUnsupported)
		}
		client, server := net.Pipe()
		d.consoles[server] = id
		d.loop.Go(func() {
			defer server.Close()
			_ = serve(id, server) // whatever was wrong, the client sees the end of the connection
			d.mu.Lock()
			delete(d.consoles, server)
			d.mu.Unlock()
		})
		return client, nil
	})
}

// hangUp ends the console connections of an instance. The lock is held.
func (d *Driver) hangUp(id cluster.InstanceID) {
	for c, of := range d.consoles {
		if of == id {
			c.Close()
		}
	}
}

func (d *Driver) serveVNC(id cluster.InstanceID, c net.Conn) error {
	return serveRFB(c, "sim "+string(id))
}

// maxCommand bounds what is typed on a serial console, in bytes a line.
const maxCommand = 4 << 10

// prompt is what the guest's shell writes when it waits for a command.
const prompt = "# "

// serveSerial shows what the guest printed and lets one type commands, which are echoed:
//
//	uptime      how long the guest has run, and which boot of its disk it lives in
//	write TEXT  appends a line to its disk
//	cat         shows what was written
//	poweroff    powers the guest off
func (d *Driver) serveSerial(id cluster.InstanceID, c net.Conn) error {
	text, err := locked(d, OpDial, func() (string, error) {
		r := d.records[id]
		return r.console(d.cfg.Now(), d.cfg.Boot), nil
	})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, text+prompt); err != nil {
		return err
	}
	var typed []byte
	in := make([]byte, 256)
	for {
		n, err := c.Read(in)
		if err != nil {
			return err
		}
		var out []byte
		for _, b := range in[:n] {
			switch {
			case b == '\r' || b == '\n':
				out = append(append(append(out, "\r\n"...), d.command(id, string(typed))...), prompt...)
				typed = typed[:0]
			case len(typed) >= maxCommand:
				return errors.New("a line is too long")
			default:
				out, typed = append(out, b), append(typed, b)
			}
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
}
