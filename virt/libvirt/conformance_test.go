package libvirt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/virttest"
)

const testCluster = "c1"

// rig is a driver over the shared libvirtd, with a second connection for what happens behind its back.
type rig struct {
	*virttest.Backend
	config Config
	chroot string
	behind *link // keeps libvirt's test driver, whose domains end with its last connection, alive
}

// newRig makes a driver with a data directory of its own. Domains that it leaves are removed.
func newRig(t *testing.T, d *daemon, uri string) *rig {
	t.Helper()
	r := &rig{behind: newLink(d.socket, uri, 20*time.Second, slog.New(slog.DiscardHandler)), config: Config{
		Socket: d.socket, URI: uri, DataDir: shortDir(t), ClusterID: testCluster, VirtType: QEMU,
		Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}}
	if os.Getuid() == 0 {
		r.chroot = filepath.Dir(filepath.Dir(filepath.Dir(d.socket))) // above run/libvirt
	}
	if uri != DefaultURI {
		r.config.Disks = plainDisks{}
	}
	first := r.list(t)
	t.Cleanup(func() {
		for u, dom := range r.list(t) {
			if _, before := first[u]; !before {
				r.wipe(t, dom)
			}
		}
		r.behind.close()
	})
	r.Backend = &virttest.Backend{
		ClusterID: testCluster, Guards: true, Driver: r.open(t),
		Guest:    r.guest,
		Reopen:   r.reopen,
		Disk:     r.disk,
		Stranger: r.stranger,
		Hang:     d.freeze,
	}
	return r
}

// shortDir makes a directory whose path leaves room for the names of sockets, as those of real nodes do.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kn-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// testLog writes a driver's log into the test's.
type testLog struct{ t *testing.T }

// Write logs one line.
func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (r *rig) open(t *testing.T) *Driver {
	t.Helper()
	d, err := New(r.config)
	if err != nil {
		t.Fatal(err)
	}
	d.chroot = r.chroot
	t.Cleanup(func() { d.Close() })
	return d
}

func (r *rig) reopen(t *testing.T) virt.Driver {
	t.Helper()
	if err := r.Driver.Close(); err != nil {
		t.Fatal(err)
	}
	r.Driver = r.open(t)
	return r.Driver
}

func (r *rig) list(t *testing.T) map[rpc.UUID]rpc.Domain {
	t.Helper()
	doms, err := ask(context.Background(), r.behind, "list", func(l *rpc.Libvirt) ([]rpc.Domain, error) {
		doms, _, err := l.ConnectListAllDomains(1, 0)
		return doms, err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[rpc.UUID]rpc.Domain{}
	for _, d := range doms {
		found[d.UUID] = d
	}
	return found
}

// wipe ends a domain and its definition; whether it was active or defined at all does not matter.
func (r *rig) wipe(t *testing.T, dom rpc.Domain) {
	t.Helper()
	ctx := context.Background()
	_ = tell(ctx, r.behind, "destroy", func(l *rpc.Libvirt) error { return l.DomainDestroy(dom) })
	_ = tell(ctx, r.behind, "undefine", func(l *rpc.Libvirt) error { return l.DomainUndefine(dom) })
}

// guest gives one that boots from the suite's boot sector.
func (r *rig) guest(t *testing.T) virt.Guest {
	t.Helper()
	base := filepath.Join(r.config.DataDir, "base.raw")
	if _, err := os.Stat(base); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(base, virttest.BootSector(), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	return virt.Guest{
		VCPUs: 1, MemoryMiB: 32, Root: virt.RootDisk{Base: base, BaseFormat: "raw"},
		ConfigDrive: map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")},
	}
}

// disk fingerprints the root disk's file: which one it is and what is in it.
func (r *rig) disk(t *testing.T, id cluster.InstanceID) string {
	t.Helper()
	path := r.root(t, id)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %x", info.Sys().(*syscall.Stat_t).Ino, sha256.Sum256(content))
}

// stranger defines and starts a domain as somebody else would.
func (r *rig) stranger(t *testing.T, id cluster.InstanceID, stamp virt.Stamp) {
	t.Helper()
	kind, meta := "qemu", ""
	if r.config.mock() {
		kind = mockDomain
	}
	if stamp.Cluster != "" {
		var err error
		if meta, err = encodeMetadata(virt.Guest{Stamp: stamp}); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`<domain type='%s'><name>stranger-%s</name><uuid>%s</uuid><metadata>%s</metadata>
<memory unit='MiB'>32</memory><os><type>hvm</type></os></domain>`, kind, id, id, meta)
	err := tell(t.Context(), r.behind, "make a stranger", func(l *rpc.Libvirt) error {
		dom, err := l.DomainDefineXML(text)
		if err != nil {
			return err
		}
		return l.DomainCreate(dom)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plainDisks makes files that only look like disks, where no QEMU reads them.
type plainDisks struct{}

// CreateOverlay writes a line that names the base.
func (plainDisks) CreateOverlay(_ context.Context, path, base, _ string, _ int64) error {
	return os.WriteFile(path, []byte("overlay on "+base), 0o600)
}

// CreateEmpty writes a line.
func (plainDisks) CreateEmpty(_ context.Context, path string, _ int64) error {
	return os.WriteFile(path, []byte("empty"), 0o600)
}

// CreateFormatted writes a line that names the use.
func (plainDisks) CreateFormatted(_ context.Context, path, use string, _ int64) error {
	return os.WriteFile(path, []byte(use), 0o600)
}

// libvirt's test driver takes definitions and keeps states as QEMU's does, in microseconds: the whole path from
// Build to the RPC protocol, without a guest.
func TestConformance_LibvirtTestDriver(t *testing.T) {
	d := libvirtd(t)
	virttest.Run(t, func(t *testing.T) *virttest.Backend {
		r := newRig(t, d, "test:///default")
		r.Has.Saves = true
		r.Epochs = r.epochs
		return r.Backend
	})
}

// And the real thing.
func TestConformance_QEMU(t *testing.T) {
	d := needQEMU(t)
	virttest.Run(t, func(t *testing.T) *virttest.Backend { return newRig(t, d, DefaultURI).whole(d) })
}
