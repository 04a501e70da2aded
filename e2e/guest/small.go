package guest

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

// RootLabel is the label of the small guest's file system; the guest finds it by that on any disk.
const RootLabel = "kilonova"

// CommandLine is the kernel command line of the small guest: everything goes to the serial console, and a
// guest that cannot start ends instead of hanging.
//
// Page table isolation is for live migration: QEMU before 9.0 does not look through what an emulated processor has translated when it asks
// which pages have changed, and misses what is written through an old translation. A kernel that isolates drops them all whenever it comes
// and goes, which leaves next to nothing to miss.
const CommandLine = "console=ttyS0 panic=1 net.ifnames=0 pti=on"

const (
	smallBootMiB = 48
	smallRootMiB = 16
)

var (
	//go:embed rootfs/init
	initScript []byte
	//go:embed rootfs/flatten
	flattenScript []byte
)

// Small is the small guest: paths of files that must not be changed.
type Small struct {
	Kernel   string // for an image of disk format aki
	Ramdisk  string // for an image of disk format ari
	RootDisk string // raw: a bare ext4, to be booted with Kernel, Ramdisk and CommandLine

	DiskRaw   string // boots by itself (BIOS)
	DiskQcow2 string // the same as qcow2
}

// BuildSmall returns the small guest from the cache directory, and builds it first when its inputs changed. It
// takes a few seconds then, and says what it does through progress, which may be nil.
func BuildSmall(ctx context.Context, cacheDir string, progress func(string)) (Small, error) {
	k, err := findKernel("/boot", "/lib/modules")
	if err != nil {
		return Small{}, fmt.Errorf("build small guest: %w", err)
	}
	inputs, err := k.inputs()
	if err != nil {
		return Small{}, fmt.Errorf("build small guest: %w", err)
	}
	inputs = append(inputs, []byte(CommandLine), fmt.Append(nil, smallBootMiB, smallRootMiB))
	dir, err := cached(ctx, cacheDir, "small", inputs, func(ctx context.Context, dir string) error {
		if progress != nil {
			progress("building the small guest from Linux " + k.release + " and busybox")
		}
		return buildSmall(ctx, k, dir)
	})
	if err != nil {
		return Small{}, fmt.Errorf("build small guest: %w", err)
	}
	return smallIn(dir), nil
}

func smallIn(dir string) Small {
	return Small{
		Kernel:    filepath.Join(dir, "vmlinuz"),
		Ramdisk:   filepath.Join(dir, "ramdisk.img"),
		RootDisk:  filepath.Join(dir, "root.img"),
		DiskRaw:   filepath.Join(dir, "disk.raw"),
		DiskQcow2: filepath.Join(dir, "disk.qcow2"),
	}
}

func buildSmall(ctx context.Context, k kernel, dir string) error {
	s := smallIn(dir)
	if err := copyFile(k.image, s.Kernel); err != nil {
		return err
	}
	if err := writeRamdisk(ctx, k, s.Ramdisk); err != nil {
		return err
	}
	empty := filepath.Join(dir, "root")
	if err := os.Mkdir(empty, 0o755); err != nil {
		return err
	}
	if err := makeExt4(ctx, ext4{file: s.RootDisk, sizeMiB: smallRootMiB, label: RootLabel, content: empty}); err != nil {
		return err
	}
	err := writeDisk(ctx, bootDisk{
		file: s.DiskRaw, kernel: s.Kernel, ramdisk: s.Ramdisk, commandLine: CommandLine, bootMiB: smallBootMiB,
		root: ext4{sizeMiB: smallRootMiB, label: RootLabel, content: empty},
	})
	if err != nil {
		return err
	}
	if err := os.Remove(empty); err != nil {
		return err
	}
	return run(ctx, "", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", s.DiskRaw, s.DiskQcow2)
}
