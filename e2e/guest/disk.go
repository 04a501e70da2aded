package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	mib = 1 << 20
	// sector is the unit of partition tables.
	sector = 512
	// bootStartMiB leaves the first partition aligned, as partitioning tools do.
	bootStartMiB = 1
	// bootCode is the length of the program at the start of a master boot record.
	bootCode = 440
	// bootProgram, of Debian's syslinux-common, starts the partition that is marked as bootable.
	bootProgram = "/usr/lib/syslinux/mbr/mbr.bin"
)

// ext4 is a file system to make.
type ext4 struct {
	file      string // a disk image; made when it is not there
	offsetMiB int    // where the file system begins
	sizeMiB   int
	label     string
	content   string // the directory that it begins with
}

func makeExt4(ctx context.Context, fs ext4) error {
	// Only the features that every boot loader and kernel in use knows; numbers of inodes for small files.
	return run(ctx, "", "mkfs.ext4", "-q", "-F", "-L", fs.label, "-d", fs.content, "-m", "0",
		"-E", fmt.Sprintf("offset=%d,nodiscard,lazy_itable_init=0,root_owner=0:0", fs.offsetMiB*mib),
		fs.file, fmt.Sprintf("%dM", fs.sizeMiB))
}

// bootDisk is a disk that boots by itself on a PC with a BIOS: a FAT partition with syslinux, the kernel and
// its ramdisk, and behind it an ext4 partition, last, so that it can grow with the disk.
type bootDisk struct {
	file        string
	kernel      string
	ramdisk     string
	commandLine string
	bootMiB     int
	root        ext4 // file and offset are set by writeDisk
}

// writeDisk writes a raw disk image, without mounting anything.
func writeDisk(ctx context.Context, d bootDisk) error {
	rootStartMiB := bootStartMiB + d.bootMiB
	if err := writeSparse(d.file, int64(rootStartMiB+d.root.sizeMiB)*mib); err != nil {
		return err
	}
	table := fmt.Sprintf("label: dos\nstart=%d, size=%d, type=c, bootable\nstart=%d, type=83\n",
		bootStartMiB*mib/sector, d.bootMiB*mib/sector, rootStartMiB*mib/sector)
	if err := run(ctx, table, "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", d.file); err != nil {
		return err
	}
	if err := writeBootCode(d.file); err != nil {
		return err
	}
	if err := d.fillBoot(ctx); err != nil {
		return err
	}
	root := d.root
	root.file, root.offsetMiB = d.file, rootStartMiB
	return makeExt4(ctx, root)
}

// fillBoot makes the boot partition in place.
func (d bootDisk) fillBoot(ctx context.Context) error {
	start := bootStartMiB * mib
	err := run(ctx, "", "mkfs.vfat", "-F", "16", "-n", "BOOT", "--offset", fmt.Sprint(start/sector), "-h", fmt.Sprint(start/sector),
		d.file, fmt.Sprint(d.bootMiB*mib/1024))
	if err != nil {
		return err
	}
	menu := filepath.Join(filepath.Dir(d.file), "syslinux.cfg")
	text := "SERIAL 0 115200\nPROMPT 0\nDEFAULT linux\nLABEL linux\n KERNEL vmlinuz\n INITRD ramdisk.img\n APPEND " +
		d.commandLine + "\n"
	if err := os.WriteFile(menu, []byte(text), 0o644); err != nil {
		return err
	}
	partition := fmt.Sprintf("%s@@%d", d.file, start)
	for from, to := range map[string]string{menu: "syslinux.cfg", d.kernel: "vmlinuz", d.ramdisk: "ramdisk.img"} {
		if err := run(ctx, "", "mcopy", "-i", partition, from, "::"+to); err != nil {
			return err
		}
	}
	if err := run(ctx, "", "syslinux", "--install", "--offset", fmt.Sprint(start), d.file); err != nil {
		return err
	}
	return os.Remove(menu)
}

func writeBootCode(disk string) (err error) {
	code, err := os.ReadFile(bootProgram)
	if err != nil {
		return fmt.Errorf("read boot code: %w", err)
	}
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(code[:min(len(code), bootCode)], 0)
	return errors.Join(err, f.Close())
}

func writeSparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// run runs a tool to its end. The tools of file systems live where only root's PATH looks.
func run(ctx context.Context, input, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	if cmd.Err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				cmd = exec.CommandContext(ctx, filepath.Join(dir, name), args...)
				break
			}
		}
	}
	cmd.Stdin = strings.NewReader(input)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w: %s", name, err, strings.TrimSpace(out.String()))
	}
	return nil
}
