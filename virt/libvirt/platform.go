package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	rpc "github.com/digitalocean/go-libvirt"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"
)

// hostCaps remembers what libvirt can do and how it starts QEMU, until libvirtd is replaced.
type hostCaps struct {
	mu      sync.Mutex
	caps    *libvirtxml.Caps
	sandbox *bool // QEMU gets its seccomp sandbox
}

func (h *hostCaps) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.caps, h.sandbox = nil, nil
}

// capabilities gives libvirt's description of the host.
func (d *Driver) capabilities(ctx context.Context) (*libvirtxml.Caps, error) {
	d.caps.mu.Lock()
	defer d.caps.mu.Unlock()
	if d.caps.caps != nil {
		return d.caps.caps, nil
	}
	text, err := ask(ctx, d.rpc, "get capabilities", func(l *rpc.Libvirt) (string, error) {
		return l.ConnectGetCapabilities()
	})
	if err != nil {
		return nil, err
	}
	var caps libvirtxml.Caps
	if err := xml.Unmarshal([]byte(text), &caps); err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	if caps.Host.CPU == nil {
		return nil, errors.New("read capabilities: no host CPU in them")
	}
	d.caps.caps = &caps
	return &caps, nil
}

// platform decides what kind of domain guests get here.
func (d *Driver) platform(ctx context.Context) (platform, error) {
	caps, err := d.capabilities(ctx)
	if err != nil {
		return platform{}, err
	}
	p := platform{arch: caps.Host.CPU.Arch, cpuMode: d.cfg.CPUMode, cpuModel: d.cfg.CPUModel, diskCache: d.store.cacheMode()}
	if d.cfg.mock() {
		p.domainType = mockDomain
		return p, nil
	}
	p.filtered, p.uefiVars = true, true
	accel, err := d.accelerator(ctx)
	if err != nil {
		return platform{}, err
	}
	p.domainType = string(accel)
	if p.cpuMode == "" {
		p.cpuMode = "maximum" // everything that QEMU can emulate
		if accel == KVM {
			p.cpuMode = "host-passthrough"
		}
	}
	return p, nil
}

// accelerator resolves Auto.
func (d *Driver) accelerator(ctx context.Context) (VirtType, error) {
	if d.cfg.VirtType != Auto {
		return d.cfg.VirtType, nil
	}
	switch err := d.prober.Usable(ctx); {
	case err == nil:
		return KVM, nil
	case ctx.Err() != nil: // it was cut short, and says nothing about KVM
		return "", fmt.Errorf("prove KVM: %w", err)
	}
	return QEMU, nil
}

// cacheMode gives the cache mode of disks: none (direct I/O) where the file system of the instances allows
// that, as tmpfs and some others do not; else writeback, which is as safe, since guests' flushes are kept.
func (s store) cacheMode() string {
	probe := filepath.Join(s.root, ".direct-io")
	f, err := os.OpenFile(probe, os.O_CREATE|os.O_WRONLY|unix.O_DIRECT, 0o600)
	if err != nil {
		os.Remove(probe)
		return "writeback"
	}
	defer os.Remove(probe)
	defer f.Close()
	block, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return "writeback"
	}
	defer unix.Munmap(block)
	if _, err := f.Write(block); err != nil {
		return "writeback"
	}
	return "none"
}
