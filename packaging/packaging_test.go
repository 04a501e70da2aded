// Package packaging_test checks the Debian package, built around a program that only prints a completion.
package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuildDeb_HoldsWhatANodeNeeds(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("this machine has no dpkg-deb: Debian packages are built on Debian")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "kilonova")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"complete -F _kilonova kilonova # $*\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	deb := filepath.Join(dir, "kilonova.deb")
	run(t, "./build-deb", program, deb, "v0.2.0-3-gabcdef")

	files := run(t, "dpkg-deb", "--contents", deb)
	for _, want := range []string{
		"-rwxr-xr-x root/root", "./usr/bin/kilonova\n", "./lib/systemd/system/kilonova.service\n", "./etc/kilonova/\n",
		"./etc/default/kilonova\n", "./usr/share/bash-completion/completions/kilonova\n", "./usr/share/man/man8/kilonova.8.gz\n",
	} {
		if !strings.Contains(files, want) {
			t.Errorf("the package lacks %q:\n%s", want, files)
		}
	}
	if strings.Contains(files, "/var/lib/kilonova") {
		t.Error("the package owns the data directory: removing it would remove disks")
	}
	if v := run(t, "dpkg-deb", "--field", deb, "Version"); v != "0.2.0+3.gabcdef\n" {
		t.Errorf("version is %q", v)
	}
	depends := run(t, "dpkg-deb", "--field", deb, "Depends")
	for _, want := range []string{"qemu-system-x86", "qemu-utils", "libvirt-daemon-system"} {
		if !strings.Contains(depends, want) {
			t.Errorf("the package does not depend on %s", want)
		}
	}
	run(t, "dpkg-deb", "--extract", deb, filepath.Join(dir, "tree"))
	completion, err := os.ReadFile(filepath.Join(dir, "tree/usr/share/bash-completion/completions/kilonova"))
	if err != nil || !strings.Contains(string(completion), "completion bash") {
		t.Errorf("completion is %q, %v", completion, err)
	}
}

// A newer commit and a later release sort after what they follow, as apt must see it.
func TestVersion_SortsAsReleasesDo(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("this machine has no dpkg")
	}
	order := []string{"abcdef0", "v0.1.0", "v0.1.0-2-gabc", "v0.1.0-10-gabc", "v0.1.1", "v1.0.0"}
	last := ""
	for _, git := range order {
		v := strings.TrimSpace(run(t, "./version", git))
		if last != "" {
			run(t, "dpkg", "--compare-versions", last, "lt", v)
		}
		last = v
	}
}

// Guests belong to libvirt: neither a restart of the daemon nor a crash may take them along.
func TestUnit_LeavesGuestsAlone(t *testing.T) {
	unit, err := os.ReadFile("kilonova.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Type=notify\n", "KillMode=process\n", "Restart=always\n", "LimitNOFILE=", "After=network-online.target libvirtd.service"} {
		if !strings.Contains(string(unit), want) {
			t.Errorf("the unit lacks %q", want)
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}
