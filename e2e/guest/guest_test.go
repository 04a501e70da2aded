package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cacheDir is shared with the end-to-end tests when root runs this, so that nothing is built twice.
func cacheDir(t *testing.T) string {
	if os.Geteuid() == 0 {
		return "/var/cache/kilonova-lab"
	}
	return t.TempDir()
}

func buildSmallForTest(t *testing.T) (Small, context.Context) {
	t.Helper()
	if testing.Short() {
		t.Skip("building and booting guests is left out of -short")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	s, err := BuildSmall(ctx, cacheDir(t), func(step string) { t.Log(step) })
	if err != nil {
		t.Fatal(err)
	}
	return s, ctx
}

// The kernel, the ramdisk and the root disk boot together. The guest finds itself in its config drive, gives its
// card the address written there, runs its user data and counts; a press of the power button ends it. Started
// again, it goes on counting where it was.
func TestSmall_KernelAndRamdiskBootAndKeepTheirDisk(t *testing.T) {
	s, ctx := buildSmallForTest(t)
	disk := filepath.Join(t.TempDir(), "root.img")
	if err := copyFile(s.RootDisk, disk); err != nil {
		t.Fatal(err)
	}
	drive := configDrive(t)
	args := []string{
		"-kernel", s.Kernel, "-initrd", s.Ramdisk, "-append", CommandLine,
		"-drive", "file=" + disk + ",format=raw,if=virtio",
		"-drive", "file=" + drive + ",format=raw,media=cdrom,if=ide",
		"-netdev", "hubport,id=n0,hubid=0", "-device", "virtio-net-pci,netdev=n0,mac=fa:16:3e:00:00:05",
	}
	first := boot(ctx, t, args, "count 2")
	for _, want := range []string{
		"KILONOVA-GUEST BOOT boot=1 count=0",
		"KILONOVA-GUEST META uuid=0f8b0a2b-4ad6-4a1e-8b39-8c1a2f5f4c11 name=web 1 hostname=web-1.novalocal",
		"KILONOVA-GUEST DISK vda bytes=16777216",
		"hello from user data",
		"KILONOVA-GUEST USERDATA end status=3",
		"KILONOVA-GUEST READY uuid=0f8b0a2b-4ad6-4a1e-8b39-8c1a2f5f4c11 ip=10.78.0.15",
		"KILONOVA-GUEST POWEROFF count=",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the console lacks %q", want)
		}
	}
	if strings.Contains(first, "FOREIGN") {
		t.Error("a lone guest saw another writer")
	}
	if t.Failed() {
		t.Log(first)
	}
	if second := boot(ctx, t, args, "count 4"); !strings.Contains(second, "KILONOVA-GUEST BOOT boot=2 count=") ||
		strings.Contains(second, "count=0") {
		t.Errorf("the second boot does not go on with the counter:\n%s", second)
	}
}

// The disk with its own boot loader boots as qcow2, without config drive or network card.
func TestSmall_DiskBootsByItself(t *testing.T) {
	s, ctx := buildSmallForTest(t)
	disk := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := copyFile(s.DiskQcow2, disk); err != nil {
		t.Fatal(err)
	}
	console := boot(ctx, t, []string{"-drive", "file=" + disk + ",format=qcow2,if=virtio", "-nic", "none"}, "count 1")
	for _, want := range []string{"BOOT boot=1 count=0", "NOCONFIG", "READY uuid= ip="} {
		if !strings.Contains(console, "KILONOVA-GUEST "+want) {
			t.Errorf("the console lacks %q:\n%s", want, console)
		}
	}
}

// boot runs a guest until it prints until, presses its power button, and returns its console once it is off.
func boot(ctx context.Context, t *testing.T, args []string, until string) string {
	t.Helper()
	began := time.Now()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-machine", "pc,accel=tcg", "-m", "128", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-monitor", "unix:" + filepath.Join(t.TempDir(), "monitor") + ",server=on,wait=off",
	}, args...)...)
	monitor := strings.TrimSuffix(strings.TrimPrefix(cmd.Args[slices.Index(cmd.Args, "-monitor")+1], "unix:"), ",server=on,wait=off")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	pressed := false
	var pressing sync.WaitGroup
	chunk := make([]byte, 4096)
	for {
		n, err := out.Read(chunk)
		console.Write(chunk[:n])
		if !pressed && bytes.Contains(console.Bytes(), []byte(until)) {
			t.Logf("%q after %s", until, time.Since(began).Round(10*time.Millisecond))
			pressed = true
			pressing.Go(func() { powerButton(t, monitor) })
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	pressing.Wait()
	if err != nil {
		t.Errorf("QEMU: %v", err)
	}
	if !pressed {
		t.Errorf("the guest never printed %q:\n%s", until, console.String())
	}
	return console.String()
}

func powerButton(t *testing.T, monitor string) {
	t.Helper()
	conn, err := net.Dial("unix", monitor)
	if err != nil {
		t.Errorf("press the power button: %v", err)
		return
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("system_powerdown\n")); err != nil {
		t.Errorf("press the power button: %v", err)
	}
	_, _ = io.Copy(io.Discard, conn) // QEMU forgets a command whose sender hangs up.
}

// configDrive makes an ISO image as OpenStack lays it out.
func configDrive(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	latest := filepath.Join(dir, "content", "openstack", "latest")
	if err := os.MkdirAll(latest, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"meta_data.json": `{"uuid": "0f8b0a2b-4ad6-4a1e-8b39-8c1a2f5f4c11", "hostname": "web-1.novalocal", "name": "web 1",
			"launch_index": 0, "devices": [], "meta": {"uuid": "a trap"}}`,
		"network_data.json": `{"links": [{"id": "tap0", "type": "bridge", "vif_id": "p0", "mtu": 1400, "ethernet_mac_address": "fa:16:3e:00:00:05"}],
			"networks": [{"id": "network0", "type": "ipv4", "link": "tap0", "ip_address": "10.78.0.15",
			"netmask": "255.255.255.0", "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.78.0.1"}]}]}`,
		"user_data": "#!/bin/sh\necho hello from user data\nexit 3\n",
	} {
		if err := os.WriteFile(filepath.Join(latest, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	drive := filepath.Join(dir, "config.iso")
	err := run(context.Background(), "", "genisoimage", "-quiet", "-R", "-J", "-V", "config-2", "-o", drive, filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	return drive
}

// A build that fails leaves nothing that a later one could take for whole; one that succeeds is done once; other
// inputs replace it.
func TestCached_BuildsOnceAndNeverHalf(t *testing.T) {
	dir, ctx, builds := t.TempDir(), context.Background(), 0
	build := func(fail error) func(context.Context, string) error {
		return func(_ context.Context, part string) error {
			builds++
			return errors.Join(os.WriteFile(filepath.Join(part, "out"), []byte("x"), 0o644), fail)
		}
	}
	broken := errors.New("no space")
	if _, err := cached(ctx, dir, "k", [][]byte{{1}}, build(broken)); !errors.Is(err, broken) {
		t.Fatalf("cached = %v, want %v", err, broken)
	}
	first, err := cached(ctx, dir, "k", [][]byte{{1}}, build(nil))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := cached(ctx, dir, "k", [][]byte{{1}}, build(nil)); err != nil || again != first || builds != 2 {
		t.Errorf("cached = %q, %v after %d builds; want %q after 2", again, err, builds, first)
	}
	second, err := cached(ctx, dir, "k", [][]byte{{2}}, build(nil))
	if err != nil || second == first {
		t.Fatalf("cached = %q, %v", second, err)
	}
	if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old build is still there: %v", err)
	}
}

func TestLoadOrder_PutsDependenciesFirst(t *testing.T) {
	dep := "kernel/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko\nkernel/virtio.ko: kernel/virtio_ring.ko\n" +
		"kernel/virtio_ring.ko:\nkernel/nls_iso8859-1.ko:\nnonsense\n"
	got := loadOrder([]byte(dep), []string{"virtio_blk", "nls-iso8859-1", "virtio", "absent"})
	want := []string{"kernel/virtio_ring.ko", "kernel/virtio.ko", "kernel/virtio_blk.ko", "kernel/nls_iso8859-1.ko"}
	if !slices.Equal(got, want) {
		t.Errorf("loadOrder = %v, want %v", got, want)
	}
}

func FuzzLoadOrder(f *testing.F) {
	f.Add([]byte("a.ko: b.ko\nb.ko: a.ko\n"))
	f.Add([]byte("a.ko"))
	f.Fuzz(func(t *testing.T, dep []byte) {
		order := loadOrder(dep, []string{"a", "b"})
		slices.Sort(order)
		if len(slices.Compact(slices.Clone(order))) != len(order) {
			t.Errorf("a module is loaded twice: %q", order)
		}
	})
}

func TestFindKernel_TakesTheNewestWithModules(t *testing.T) {
	boot, modules := t.TempDir(), t.TempDir()
	for _, r := range []string{"6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.2.0-1-cloud-amd64"} {
		if err := os.WriteFile(filepath.Join(boot, "vmlinuz-"+r), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := findKernel(boot, modules); !errors.Is(err, errNoKernel) {
		t.Errorf("findKernel without modules = %v, want errNoKernel", err)
	}
	for _, r := range []string{"6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"} {
		dir := filepath.Join(modules, r)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "modules.dep"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if k, err := findKernel(boot, modules); err != nil || k.release != "6.1.0-56-cloud-amd64" {
		t.Errorf("findKernel = %q, %v", k.release, err)
	}
}

// The guest's JSON reader gives one line for each scalar and ends on broken input.
func TestFlatten(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":[{"x":1,"y":"q\"z"},{"n":null}],"b":{},"c":[],"d":[[1,-2.5]]}`: ".a[0].x 1\n.a[0].y q\"z\n.a[1].n null\n.d[0][0] 1\n.d[0][1] -2.5\n",
		`{"a":[@@`:     "",
		`{"a" "b":1`:   "",
		``:             "",
		`{"k":"open`:   ".k open\n\n",
		"{\n\"k\" : 1": ".k 1\n",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		cmd := exec.CommandContext(ctx, "busybox", "awk", "-f", "rootfs/flatten")
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		cancel()
		if err != nil || (string(out) != want && want != "") {
			t.Errorf("flatten(%s) = %q, %v; want %q", in, out, err, want)
		}
	}
}
