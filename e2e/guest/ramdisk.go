package guest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// writeRamdisk writes the small guest's whole system: a compressed cpio archive, the kernel's initramfs format.
func writeRamdisk(ctx context.Context, k kernel, target string) (err error) {
	root, err := os.MkdirTemp(filepath.Dir(target), "ramdisk-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	if err := fillRamdisk(k, root); err != nil {
		return fmt.Errorf("fill ramdisk: %w", err)
	}
	if err := buildHeart(ctx, filepath.Join(root, "bin/heart")); err != nil {
		return fmt.Errorf("fill ramdisk: %w", err)
	}
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed) // Emulated machines unpack slowly.
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", "find . | sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible")
	cmd.Dir = root
	cmd.Stdout = zip
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("pack ramdisk: %w: %s", err, complaint.String()), out.Close())
	}
	return errors.Join(zip.Close(), out.Close())
}

// fillRamdisk lays out the files of the ramdisk.
func fillRamdisk(k kernel, root string) error {
	for _, d := range []string{"bin", "proc", "sys", "dev", "config", "disk", "other", "lib/modules"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := copyFile(busyboxPath, filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	for _, link := range []string{"sh", "awk"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", link)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "init"), initScript, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "bin/flatten"), flattenScript, 0o755); err != nil {
		return err
	}
	var order strings.Builder
	for _, m := range k.load {
		name := filepath.Base(m)
		fmt.Fprintln(&order, name)
		if err := copyFile(filepath.Join(k.modules, m), filepath.Join(root, "lib/modules", name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(root, "lib/modules/order"), []byte(order.String()), 0o644)
}
