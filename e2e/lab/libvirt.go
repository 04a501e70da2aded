package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
)

const (
	libvirtStartTimeout = 60 * time.Second
	libvirtPoll         = 50 * time.Millisecond

	// capabilityDir, in a host, holds what libvirt found out about the QEMU programs; doing so takes it
	// seconds of two cores. libvirt itself drops entries that do not fit the machine any more.
	capabilityDir = "var/cache/libvirt/qemu/capabilities"
)

// libvirtConf lets root alone connect, over the UNIX socket alone. Each host needs a UUID of its own, or libvirt
// refuses to migrate between two ("to the same host").
const libvirtConf = `host_uuid = "%s"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
unix_sock_dir = "/run/libvirt"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
`

// qemuConf turns off what a namespace cannot give (cgroups, a /dev of its own, security labels) and what
// would need a second daemon (virtlogd).
const qemuConf = `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
`

// writeLibvirtConfig lays out the directories that a host mounts over libvirt's own.
func writeLibvirtConfig(root string, hostID uuid.UUID) error {
	for _, d := range []string{"etc/libvirt/qemu", "var/lib/libvirt", "var/log/libvirt/qemu", capabilityDir} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return fmt.Errorf("make libvirt directories: %w", err)
		}
	}
	for name, text := range map[string]string{
		"libvirtd.conf": fmt.Sprintf(libvirtConf, hostID),
		"qemu.conf":     qemuConf,
	} {
		if err := os.WriteFile(filepath.Join(root, "etc/libvirt", name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure libvirt: %w", err)
		}
	}
	// The standard network filters (no-mac-spoofing, clean-traffic, ...) come with the package.
	if err := copyTree("/etc/libvirt/nwfilter", filepath.Join(root, "etc/libvirt/nwfilter")); err != nil {
		return fmt.Errorf("configure libvirt: %w", err)
	}
	return copyTree(sharedCapabilities(), filepath.Join(root, capabilityDir))
}

// sharedCapabilities is the machine-wide copy of capabilityDir, kept between labs.
func sharedCapabilities() string { return filepath.Join(CacheDir(), "libvirt-capabilities") }

// CacheDir is where things that take long to make are kept between labs: KILONOVA_CACHE_DIR, or
// /var/cache/kilonova-lab.
func CacheDir() string {
	if d := os.Getenv("KILONOVA_CACHE_DIR"); d != "" {
		return d
	}
	return "/var/cache/kilonova-lab"
}

// StartLibvirt starts the host's libvirtd and waits until it answers. Kill the process and call it again to
// restart it: QEMUs live on, as they do on a real host.
func (h *Host) StartLibvirt(ctx context.Context) (*Process, error) {
	p, err := h.Start("libvirtd", nil, "/usr/sbin/libvirtd")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, libvirtStartTimeout)
	defer cancel()
	for {
		_, err := h.Run(ctx, "virsh", "--connect", "qemu:///system", "domcapabilities", "--virttype", "qemu")
		if err == nil {
			break
		}
		select {
		case <-p.Done():
			said, _ := p.Log()
			return nil, fmt.Errorf("start libvirtd on %s: %w: %s", h.Name, p.err, said)
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("start libvirtd on %s: %w", h.Name, err), p.Kill())
		case <-time.After(libvirtPoll):
		}
	}
	// A copy that fails only costs the next host some seconds.
	_ = copyTree(filepath.Join(h.dir, "root", capabilityDir), sharedCapabilities())
	return p, nil
}

// copyTree copies the regular files of a directory that to lacks. A directory that does not exist is empty.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if _, err := os.Stat(target); err == nil || !d.Type().IsRegular() {
			return nil
		}
		return copyFile(path, target)
	})
}

// copyFile copies a small file so that target is either whole or absent.
func copyFile(from, target string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(target), ".part-*")
	if err != nil {
		return err
	}
	_, err = part.Write(b)
	if cerr := part.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part.Name(), target)
	}
	if err != nil {
		_ = os.Remove(part.Name())
	}
	return err
}
