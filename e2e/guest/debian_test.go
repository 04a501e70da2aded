package guest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// debianEnv makes the slow test run that builds and boots a stock Debian on its own; the end-to-end tests boot
// the same image in a cluster.
const debianEnv = "KILONOVA_TEST_DEBIAN"

func TestBuildDebian_WithoutRootSaysSo(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("this test is about users other than root")
	}
	if _, err := BuildDebian(context.Background(), t.TempDir(), nil); !errors.Is(err, ErrNotRoot) {
		t.Errorf("BuildDebian = %v, want ErrNotRoot", err)
	}
}

// A stock Debian boots by itself, and its cloud-init finds the config drive: host name and user data.
func TestBuildDebian_CloudInitFindsItsConfigDrive(t *testing.T) {
	if os.Geteuid() != 0 || testing.Short() || os.Getenv(debianEnv) == "" {
		t.Skip("building Debian takes root and minutes: set " + debianEnv)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	image, err := BuildDebian(ctx, cacheDir(t), func(step string) { t.Log(step) })
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := run(ctx, "", "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, disk, "4G"); err != nil {
		t.Fatal(err)
	}
	console := boot(ctx, t, []string{
		"-m", "512",
		"-drive", "file=" + disk + ",format=qcow2,if=virtio",
		"-drive", "file=" + configDrive(t) + ",format=raw,media=cdrom,if=ide",
		"-netdev", "hubport,id=n0,hubid=0", "-device", "virtio-net-pci,netdev=n0,mac=fa:16:3e:00:00:05",
	}, "Cloud-init v. 22.4.2 finished")
	for _, want := range []string{"DataSourceConfigDrive", "10.78.0.15", "hello from user data", "web-1 login:"} {
		if !strings.Contains(console, want) {
			t.Errorf("the console lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(console)
	}
}
