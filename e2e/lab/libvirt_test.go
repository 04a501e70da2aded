package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// idleGuest is a guest that executes nothing: it has firmware and no disk, and is started paused.
const idleGuest = `<domain type='qemu'>
  <name>idle</name><uuid>6c7ee7e5-6a1c-4ed5-a6c3-8f8f27f3ab6a</uuid><memory unit='MiB'>32</memory>
  <os><type arch='x86_64'>hvm</type></os><on_crash>destroy</on_crash>
</domain>`

// libvirtd is killed under a running guest. The guest's process stays, a new libvirtd finds it, and the loss of
// power ends it.
func TestLibvirt_GuestOutlivesItsDaemonButNotItsPower(t *testing.T) {
	l, ctx := newLab(t)
	h := addHost(t, l)
	daemon, err := h.StartLibvirt(ctx)
	if err != nil {
		t.Fatal(err)
	}
	file, err := h.Path(filepath.Join(h.DataDir(), "idle.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(idleGuest), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, h, "virsh", "create", "--paused", filepath.Join(h.DataDir(), "idle.xml"))
	before, err := l.QEMUs()
	if err != nil || len(before) != 1 {
		t.Fatalf("QEMUs = %+v, %v; want one", before, err)
	}
	if q := before[0]; q.Host != h.Name || q.Domain != "idle" || q.UUID != "6c7ee7e5-6a1c-4ed5-a6c3-8f8f27f3ab6a" {
		t.Errorf("QEMU = %+v", q)
	}

	if err := daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.StartLibvirt(ctx); err != nil {
		t.Fatal(err)
	}
	if state := run(t, h, "virsh", "domstate", "idle"); state != "paused" {
		t.Errorf("the new libvirtd calls the guest %q, want paused", state)
	}
	if after, err := l.QEMUs(); err != nil || len(after) != 1 || after[0].PID != before[0].PID {
		t.Errorf("QEMUs = %+v, %v; want the same process as before", after, err)
	}

	if err := h.PowerCut(); err != nil {
		t.Fatal(err)
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", before[0].PID))
	if strings.Contains(string(cmdline), before[0].UUID) {
		t.Error("the guest runs on without power")
	}
}

func TestParseQEMU(t *testing.T) {
	const id = "6c7ee7e5-6a1c-4ed5-a6c3-8f8f27f3ab6a"
	for _, tc := range []struct {
		name string
		argv []string
		want QEMU
		ok   bool
	}{
		{"a guest", []string{"/usr/bin/qemu-system-x86_64", "-name", "guest=web-1,debug-threads=on", "-uuid", id, "-S"},
			QEMU{UUID: id, Domain: "web-1"}, true},
		{"the target of a migration", []string{"qemu-system-x86_64", "-uuid", id, "-incoming", "defer"},
			QEMU{UUID: id, Incoming: true}, true},
		{"a probe of libvirt", []string{"/usr/bin/qemu-system-x86_64", "-S", "-M", "none"}, QEMU{}, false},
		{"an option without its value", []string{"qemu-system-x86_64", "-uuid"}, QEMU{}, false},
		{"another program", []string{"grep", "-uuid", id}, QEMU{}, false},
		{"a zombie", nil, QEMU{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var line string
			for _, a := range tc.argv {
				line += a + "\x00"
			}
			got, ok := parseQEMU([]byte(line))
			if ok != tc.ok || ok && got != tc.want {
				t.Errorf("parseQEMU(%q) = %+v, %v; want %+v, %v", line, got, ok, tc.want, tc.ok)
			}
		})
	}
}

func FuzzParseQEMU(f *testing.F) {
	f.Add([]byte("qemu-system-x86_64\x00-uuid\x00x\x00-name\x00guest=a,b\x00"))
	f.Add([]byte("qemu-system-\x00-name"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, line []byte) {
		if q, ok := parseQEMU(line); ok && q.UUID == "" {
			t.Errorf("a guest without UUID: %q", line)
		}
	})
}

func TestRenderCuts_ReplacesTheTableInOneTransaction(t *testing.T) {
	got := renderCuts(map[cut]bool{{"m2", "m1"}: true, {"m1", "m2"}: true})
	want := "table bridge lab {}\ndelete table bridge lab\ntable bridge lab {\n\tchain forward {\n" +
		"\t\ttype filter hook forward priority 0;\n" +
		"\t\tiifname { \"m1\", \"m1r\" } oifname { \"m2\", \"m2r\" } drop\n\t\tiifname { \"m2\", \"m2r\" } oifname { \"m1\", \"m1r\" } drop\n\t}\n}\n"
	if got != want {
		t.Errorf("renderCuts = %s\nwant %s", got, want)
	}
}

func TestIndexOfLink(t *testing.T) {
	for name, want := range map[string]int{"knl0-mgmt": 0, "knl15-lan": 15, "knl16-lan": -1, "knl-lan": -1, "eth0": -1,
		"knl3": -1, "knl-1-lan": -1} {
		if got, ok := indexOfLink(name); ok != (want >= 0) || ok && got != want {
			t.Errorf("indexOfLink(%q) = %d, %v; want %d", name, got, ok, want)
		}
	}
}
