package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	rpc "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
)

// probeXML is a guest that is never made: libvirt is asked how it would start QEMU for it.
const probeXML = `<domain type='%s'><name>kilonova-probe</name><memory unit='MiB'>32</memory><os><type arch='%s'>hvm</type></os></domain>`

// rights says what a QEMU may do on this host that it need not. libvirtd's configuration decides it; it is asked rather than its file read, since what
// the file leaves out is decided when libvirt is built.
func (d *Driver) rights(ctx context.Context, caps *libvirtxml.Caps, p platform) (asRoot, unfiltered bool, err error) {
	if d.cfg.mock() {
		return false, false, nil
	}
	uid, _ := emulatorUser(caps)
	filtered, err := d.sandboxed(ctx, p)
	return uid == 0, !filtered, err
}

// sandboxed tells whether QEMU is started with its seccomp sandbox. A libvirt that cannot say is believed to do as it does by default, with a sandbox.
func (d *Driver) sandboxed(ctx context.Context, p platform) (bool, error) {
	d.caps.mu.Lock()
	known := d.caps.sandbox
	d.caps.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	line, err := ask(ctx, d.rpc, "render a command line", func(l *rpc.Libvirt) (string, error) {
		return l.ConnectDomainXMLToNative("qemu-argv", fmt.Sprintf(probeXML, p.domainType, p.arch), 0)
	})
	if errors.Is(err, virt.ErrUnavailable) {
		return false, err
	}
	on := err != nil || sandboxLine(line)
	d.caps.mu.Lock()
	defer d.caps.mu.Unlock()
	d.caps.sandbox = &on
	return on, nil
}

// sandboxLine tells whether a command line of QEMU asks for its sandbox.
func sandboxLine(line string) bool {
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n\\", r) })
	for i, w := range words[:max(0, len(words)-1)] {
		if w == "-sandbox" {
			value := words[i+1]
			return value == "on" || strings.HasPrefix(value, "on,")
		}
	}
	return false
}
