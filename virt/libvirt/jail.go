package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt/disk"
)

// The limits of a program that writes a replica, which another host's QEMU talks to: memory, files, and how large the file may become besides what
// the guest sees of it, for what qcow2 needs to find its parts (the format's own tables are less than a thousandth).
const (
	jailSpace = 4 << 30 // bytes of address space; most of it is the stacks of threads
	jailFiles = 128
	jailSpare = 64 << 20 // bytes
	jailShare = 256      // and one part of so many
)

// jail is what such a program runs in. It has no network: what it is asked comes over one UNIX socket.
type jail struct {
	uid, gid int   // the user that libvirt's QEMU has; -1: this process's own
	most     int64 // bytes that a file may have; 0: it writes none
}

// jail finds out as whom QEMU runs here.
func (d *Driver) jail(ctx context.Context) (jail, error) {
	caps, err := d.capabilities(ctx)
	if err != nil {
		return jail{}, err
	}
	uid, gid := emulatorUser(caps)
	return jail{uid: uid, gid: gid}, nil
}

// emulatorUser is the user and the group that libvirt's QEMU has, by its capabilities ("baselabel" of the security model "dac"); -1: they do not say.
func emulatorUser(caps *libvirtxml.Caps) (uid, gid int) {
	for _, m := range caps.Host.SecModel {
		if m.Name != "dac" {
			continue
		}
		for _, l := range m.Labels {
			user, group, both := strings.Cut(l.Value, ":")
			u, userErr := strconv.ParseUint(strings.TrimPrefix(user, "+"), 10, 31)
			g, groupErr := strconv.ParseUint(strings.TrimPrefix(group, "+"), 10, 31)
			if both && userErr == nil && groupErr == nil {
				return int(u), int(g)
			}
		}
	}
	return -1, -1
}

// forFile lets the program write a qcow2 file, as far as the guest can fill it.
func (j jail) forFile(ctx context.Context, path string) (jail, error) {
	info, err := disk.Stat(ctx, path, disk.QCOW2)
	if err != nil {
		return j, err
	}
	j.most = info.VirtualSize + info.VirtualSize/jailShare + jailSpare
	return j, j.give(path)
}

// give makes a file, or a directory, the user's own.
func (j jail) give(path string) error {
	if j.uid < 0 || os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, j.uid, j.gid)
}

// command runs a program in the jail. prlimit sets the limits and becomes the program, so that a kill reaches it.
func (j jail) command(program string, args ...string) (*exec.Cmd, error) {
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		return nil, fmt.Errorf("prlimit: %w: install the Debian package util-linux", disk.ErrNoTool)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: install the Debian package qemu-utils", program, errors.Join(disk.ErrNoTool, err))
	}
	cmd := exec.Command(prlimit, append([]string{"--as=" + strconv.Itoa(jailSpace), "--nofile=" + strconv.Itoa(jailFiles),
		"--fsize=" + strconv.FormatInt(j.most, 10), "--core=0", "--", path}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MALLOC_ARENA_MAX=2")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNET
		if j.uid >= 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(j.uid), Gid: uint32(j.gid)}
		}
	}
	return cmd, nil
}
