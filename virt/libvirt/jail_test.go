package libvirt

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

// The user that QEMU has is what libvirt says of it, and nothing else is guessed.
func TestEmulatorUser_IsWhatLibvirtSays(t *testing.T) {
	for label, want := range map[string][2]int{
		"+64055:+109": {64055, 109}, "0:0": {0, 0}, "": {-1, -1}, "+64055": {-1, -1}, "libvirt-qemu:kvm": {-1, -1}, "+-1:+2": {-1, -1},
		"+4294967296:+1": {-1, -1},
	} {
		caps := &libvirtxml.Caps{}
		caps.Host.SecModel = []libvirtxml.CapsHostSecModel{
			{Name: "apparmor", Labels: []libvirtxml.CapsHostSecModelLabel{{Value: "+1:+1"}}},
			{Name: "dac", Labels: []libvirtxml.CapsHostSecModelLabel{{Type: "kvm", Value: label}}},
		}
		if uid, gid := emulatorUser(caps); [2]int{uid, gid} != want {
			t.Errorf("%q is the user %d and the group %d, want %v", label, uid, gid, want)
		}
	}
}

// Another host's QEMU talks to a program here. That has QEMU's user, which is nobody's in this story, no network, and no more memory and room on the disk
// than it needs.
func TestReplica_IsWrittenInAJail(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give it up")
	}
	dir, err := os.MkdirTemp("", "jail-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, dirMode); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	path := filepath.Join(dir, "root")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1G")
	j, err := jail{uid: nobody, gid: nobody}.forFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := serveNBD(t.Context(), j, "--format=qcow2", "--", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	proc := fmt.Sprintf("/proc/%d/", conn.(*served).cmd.Process.Pid)
	read := func(name string) string {
		text, err := os.ReadFile(proc + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for file, wants := range map[string][]string{
		"status": {`Uid:\s+65534\s+65534`, `Gid:\s+65534\s+65534`, `CapEff:\s+0+\n`},
		"limits": {`Max address space\s+4294967296\s`, `Max file size\s+1145044992\s`, `Max core file size\s+0\s`, `Max open files\s+128\s`},
	} {
		for _, want := range wants {
			if got := read(file); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("%s: no %s in %s", file, want, got)
			}
		}
	}
	if lines := strings.Split(strings.TrimSpace(read("net/dev")), "\n"); len(lines) > 3 {
		t.Errorf("it sees the network %q", lines)
	}
	mine, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if its, err := os.Readlink(proc + "ns/net"); err != nil || its == mine {
		t.Errorf("its network is this process's: %s, %v", its, err)
	}
}
