package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
)

// domain is a libvirt guest as an operator without Kilonova would define it.
var domain = template.Must(template.New("domain").Parse(`<domain type='qemu'>
  <name>{{.Name}}</name><uuid>{{.UUID}}</uuid><memory unit='MiB'>128</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type>
    {{if .Kernel}}<kernel>{{.Kernel}}</kernel><initrd>{{.Ramdisk}}</initrd><cmdline>{{.CommandLine}}</cmdline>{{end}}
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='{{.Format}}'/><source file='{{.Disk}}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{{.Drive}}'/><target dev='hda' bus='ide'/></disk>
    <interface type='bridge'><source bridge='{{.Bridge}}'/><mac address='{{.MAC}}'/><model type='virtio'/></interface>
    <serial type='file'><source path='{{.Console}}'/></serial>
  </devices>
</domain>`))

type plainGuest struct {
	Name, UUID, Kernel, Ramdisk, CommandLine, Format, Disk, Drive, Bridge, MAC, Console, IP string
}

// Two guests run on two hosts, one from kernel and ramdisk, one from its own boot loader. They reach each other
// over the guest network, and the machine reaches both. One is told to shut down and does.
func TestGuests_OnTwoHostsReachEachOther(t *testing.T) {
	if os.Geteuid() != 0 || testing.Short() {
		t.Skip("making hosts needs root and is left out of -short")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	small, err := guest.BuildSmall(ctx, lab.CacheDir(), func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	subnet, _ := l.GuestNetwork()
	prefix := strings.TrimSuffix(subnet, "0/24")

	apart := plainGuest{
		Name: "apart", UUID: "11111111-1111-4111-8111-111111111111", IP: prefix + "21", MAC: "fa:16:3e:00:00:21",
		Kernel: small.Kernel, Ramdisk: small.Ramdisk, CommandLine: guest.CommandLine, Disk: small.RootDisk, Format: "raw",
	}
	whole := plainGuest{
		Name: "whole", UUID: "22222222-2222-4222-8222-222222222222", IP: prefix + "22", MAC: "fa:16:3e:00:00:22",
		Disk: small.DiskQcow2, Format: "qcow2",
	}
	one, two := startGuest(ctx, t, l, &apart, ""), startGuest(ctx, t, l, &whole, "ping -c 60 -i 1 "+apart.IP+" | grep -m 1 'bytes from'")

	for host, g := range map[*lab.Host]plainGuest{one: apart, two: whole} {
		want := fmt.Sprintf("KILONOVA-GUEST READY uuid=%s ip=%s", g.UUID, g.IP)
		if console := waitConsole(ctx, host, g, want); console != "" {
			t.Fatalf("guest %s never said %q:\n%s", g.Name, want, console)
		}
		if out, err := exec.CommandContext(ctx, "busybox", "ping", "-c", "1", "-W", "5", g.IP).CombinedOutput(); err != nil {
			t.Errorf("the machine does not reach %s: %s", g.Name, out)
		}
	}
	if console := waitConsole(ctx, two, whole, "bytes from "+apart.IP); console != "" {
		t.Errorf("guest %s does not reach %s:\n%s", whole.Name, apart.Name, console)
	}
	if _, err := one.Run(ctx, "virsh", "shutdown", apart.Name); err != nil {
		t.Fatal(err)
	}
	if console := waitConsole(ctx, one, apart, "KILONOVA-GUEST POWEROFF"); console != "" {
		t.Errorf("guest %s ignores its power button:\n%s", apart.Name, console)
	}
}

// startGuest makes a host and starts a guest on it whose user data runs a command.
func startGuest(ctx context.Context, t *testing.T, l *lab.Lab, g *plainGuest, command string) *lab.Host {
	t.Helper()
	h, err := l.AddHost(lab.HostOptions{DiskMiB: 256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.StartLibvirt(ctx); err != nil {
		t.Fatal(err)
	}
	run := func(argv ...string) {
		t.Helper()
		if _, err := h.Run(ctx, argv...); err != nil {
			t.Fatal(err)
		}
	}
	inside := h.DataDir()
	outside, err := h.Path(inside)
	if err != nil {
		t.Fatal(err)
	}
	writeMetadata(t, filepath.Join(outside, "drive", "openstack", "latest"), *g, command)
	run("genisoimage", "-quiet", "-R", "-V", "config-2", "-o", filepath.Join(inside, "drive.iso"), filepath.Join(inside, "drive"))
	run("cp", "--sparse=always", g.Disk, filepath.Join(inside, "disk"))
	g.Disk, g.Drive, g.Bridge = filepath.Join(inside, "disk"), filepath.Join(inside, "drive.iso"), h.Bridge()
	g.Console = filepath.Join(inside, "console.log")
	var xml strings.Builder
	if err := domain.Execute(&xml, g); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "domain.xml"), []byte(xml.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run("virsh", "create", filepath.Join(inside, "domain.xml"))
	return h
}

func writeMetadata(t *testing.T, dir string, g plainGuest, command string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"meta_data.json": fmt.Sprintf(`{"uuid": %q, "name": %q, "hostname": %q}`, g.UUID, g.Name, g.Name),
		"network_data.json": fmt.Sprintf(`{"links": [{"id": "l0", "type": "bridge", "ethernet_mac_address": %q}], "networks":
			[{"id": "n0", "type": "ipv4", "link": "l0", "ip_address": %q, "netmask": "255.255.255.0", "routes": []}]}`, g.MAC, g.IP),
		"user_data": "#!/bin/sh\n" + command + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// waitConsole waits until a guest's console holds want. If it never does, the console is returned.
func waitConsole(ctx context.Context, h *lab.Host, g plainGuest, want string) string {
	var console []byte
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		path, err := h.Path(g.Console)
		if err != nil {
			return err.Error()
		}
		if console, err = os.ReadFile(path); err != nil {
			console = []byte(err.Error())
		} else if strings.Contains(string(console), want) {
			return ""
		}
	}
	return string(console)
}
