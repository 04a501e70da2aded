package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MirrorEnv names another Debian mirror than deb.debian.org for BuildDebian.
const MirrorEnv = "KILONOVA_DEBIAN_MIRROR"

const (
	debianSuite   = "bookworm"
	debianMirror  = "http://deb.debian.org/debian"
	debianLabel   = "debian"
	debianBootMiB = 96
	debianRootMiB = 1408
)

// debianPackages make what Debian's own cloud images are: the cloud kernel, systemd, cloud-init with what it
// configures networks and grows disks with, and an SSH server.
var debianPackages = []string{
	"linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "netplan.io", "iproute2", "iputils-ping",
	"cloud-init", "cloud-guest-utils", "e2fsprogs", "fdisk", "openssh-server", "sudo",
}

// debianSetup finishes the tree in $1. Debian's cloud images mount their root by label as well.
const debianSetup = `set -eu
echo 'LABEL=` + debianLabel + ` / ext4 rw,discard,errors=remount-ro 0 1' >"$1/etc/fstab"
echo 'datasource_list: [ ConfigDrive, None ]' >"$1/etc/cloud/cloud.cfg.d/90_datasource.cfg"
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/etc/resolv.conf"
: >"$1/etc/machine-id"
`

// ErrNotRoot says that a Debian image was asked for without the right to unpack one.
var ErrNotRoot = errors.New("build Debian image: it needs root, to unpack packages with their owners")

// BuildDebian returns the path of a qcow2 image of a stock Debian 12 with cloud-init that boots by itself, from
// the cache directory, and builds it first when it is not there: that takes minutes and a Debian mirror. It says
// what it does through progress, which may be nil.
func BuildDebian(ctx context.Context, cacheDir string, progress func(string)) (string, error) {
	if os.Geteuid() != 0 {
		return "", ErrNotRoot
	}
	if progress == nil {
		progress = func(string) {}
	}
	mirror := os.Getenv(MirrorEnv)
	if mirror == "" {
		mirror = debianMirror
	}
	inputs := [][]byte{
		[]byte(debianSuite), []byte(mirror), []byte(strings.Join(debianPackages, " ")), []byte(debianSetup),
		fmt.Append(nil, debianBootMiB, debianRootMiB),
	}
	dir, err := cached(ctx, cacheDir, "debian", inputs, func(ctx context.Context, dir string) error {
		return buildDebian(ctx, dir, mirror, progress)
	})
	if err != nil {
		return "", fmt.Errorf("build Debian image: %w", err)
	}
	return filepath.Join(dir, "debian.qcow2"), nil
}

func buildDebian(ctx context.Context, dir, mirror string, progress func(string)) error {
	root := filepath.Join(dir, "root")
	progress("unpacking Debian 12 with cloud-init from " + mirror + " (minutes)")
	if err := bootstrapDebian(ctx, root, mirror); err != nil {
		return err
	}
	if err := run(ctx, "", "sh", "-c", debianSetup, "setup", root); err != nil {
		return err
	}
	kernel, err := onlyMatch(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	ramdisk, err := onlyMatch(filepath.Join(root, "boot", "initrd.img-*"))
	if err != nil {
		return err
	}
	progress("writing the Debian disk")
	raw := filepath.Join(dir, "debian.raw")
	err = writeDisk(ctx, bootDisk{
		file: raw, kernel: kernel, ramdisk: ramdisk, bootMiB: debianBootMiB,
		commandLine: "root=LABEL=" + debianLabel + " ro console=tty0 console=ttyS0",
		root:        ext4{sizeMiB: debianRootMiB, label: debianLabel, content: root},
	})
	if err != nil {
		return err
	}
	err = run(ctx, "", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, filepath.Join(dir, "debian.qcow2"))
	return errors.Join(err, os.Remove(raw), os.RemoveAll(root))
}

// bootstrapDebian unpacks and configures the packages below root, without documentation.
func bootstrapDebian(ctx context.Context, root, mirror string) error {
	return run(ctx, "", "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet",
		"--include="+strings.Join(debianPackages, ","),
		"--dpkgopt=force-unsafe-io",
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		"--aptopt=Acquire::Languages \"none\"",
		"--aptopt=Acquire::Retries \"3\"",
		debianSuite, root, mirror)
}

// onlyMatch returns the one file that a pattern matches.
func onlyMatch(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("find %s: %d files, want one", pattern, len(found))
	}
	return found[0], nil
}
