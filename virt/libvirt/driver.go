package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// ErrForeign says that a domain exists under the instance's ID but does not carry this cluster's stamp. The
// driver does not touch it.
var ErrForeign = errors.New("domain is not ours")

// Defaults and limits of Config.
const (
	DefaultSocket      = "/var/run/libvirt/libvirt-sock"
	DefaultURI         = "qemu:///system"
	defaultCallTimeout = 60 * time.Second   // a call whose context has no nearer deadline
	slowTimeout        = 7 * 24 * time.Hour // and a call that copies a disk or a memory
	eventBuffer        = 256                // hints beyond it are dropped; the reconciler's timer finds them
)

// VirtType says which accelerator guests run with.
type VirtType string

// The accelerators. Auto takes KVM if it is proved to work on this host, else QEMU's own emulation.
const (
	Auto VirtType = "auto"
	KVM  VirtType = "kvm"
	QEMU VirtType = "qemu"
)

// Disks makes the disks of guests.
type Disks interface {
	// CreateOverlay makes a qcow2 file at path on top of a base image, in one step: path is complete or absent.
	CreateOverlay(ctx context.Context, path, base, baseFormat string, sizeBytes int64) error
	// CreateEmpty makes an empty qcow2 file at path, in one step.
	CreateEmpty(ctx context.Context, path string, sizeBytes int64) error
	// CreateFormatted makes a raw file at path, in one step, formatted as swap space or as a file system.
	CreateFormatted(ctx context.Context, path, use string, sizeBytes int64) error
}

// Config says how a Driver finds libvirt and where it keeps its files.
type Config struct {
	Socket      string        // libvirtd's UNIX socket; "": DefaultSocket
	URI         string        // "": DefaultURI; test:///default for libvirt's own mock
	DataDir     string        // absolute; guests live below DataDir/instances
	ClusterID   string        // domains with another cluster's stamp are foreign
	VirtType    VirtType      // "": Auto
	CPUMode     string        // libvirt's cpu mode; "": host-passthrough for KVM, maximum for QEMU
	CPUModel    string        // with CPUMode "custom": the model's name
	CallTimeout time.Duration // longest wait for one libvirt call; 0: one minute
	Disks       Disks         // makes the guests' disks; nil: package disk does
	Log         *slog.Logger  // nil: slog.Default()
}

// Driver runs guests through one libvirtd. New makes one.
type Driver struct {
	cfg    Config
	log    *slog.Logger
	store  store
	rpc    *link
	prober *Prober
	filter filterState
	caps   hostCaps
	crash  crashes
	views  views
	copies turns  // of captures: libvirt copies of one domain at a time, and the file that it copies to is one
	chroot string // prefix of the paths of sockets that libvirtd names; for tests

	events chan virt.Event
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once

	unproved sync.Once // said that KVM is not proved
}

var _ virt.Driver = (*Driver)(nil)

// New gives a driver. It succeeds even when libvirtd is not running: calls then fail with
// virt.ErrUnavailable until it is. It fails when the data directory cannot be used or the configuration makes
// no sense.
func New(cfg Config) (*Driver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := store{root: filepath.Join(cfg.DataDir, instancesDir)}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", s.root, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Driver{
		cfg:    cfg,
		log:    cfg.Log,
		store:  s,
		rpc:    newLink(cfg.Socket, cfg.URI, cfg.CallTimeout, cfg.Log),
		prober: NewProber(),
		events: make(chan virt.Event, eventBuffer),
		cancel: cancel,
	}
	d.wg.Go(func() { d.watch(ctx) })
	d.wg.Go(func() { d.housekeep(ctx) })
	return d, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Socket == "" {
		c.Socket = DefaultSocket
	}
	if c.URI == "" {
		c.URI = DefaultURI
	}
	if c.VirtType == "" {
		c.VirtType = Auto
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if u, err := url.Parse(c.URI); err != nil || u.Scheme == "" || u.Host != "" {
		return c, fmt.Errorf("libvirt URI %q: want a local one such as %s", c.URI, DefaultURI)
	}
	if !filepath.IsAbs(c.DataDir) {
		return c, fmt.Errorf("data directory %q: want an absolute path", c.DataDir)
	}
	switch c.VirtType {
	case Auto, KVM, QEMU:
	default:
		return c, fmt.Errorf("virt type %q: want auto, kvm or qemu", c.VirtType)
	}
	if (c.CPUMode == "custom") != (c.CPUModel != "") {
		return c, fmt.Errorf("cpu mode %q with model %q: a model belongs to mode custom, and only to it", c.CPUMode, c.CPUModel)
	}
	if c.Disks == nil {
		c.Disks = realDisks{}
	}
	return c, nil
}

// mock tells whether libvirt's own test driver stands in for a hypervisor.
func (c Config) mock() bool { return strings.HasPrefix(c.URI, "test:") }

// Events delivers hints that a domain changed, or, with an empty ID, that libvirtd was lost or came back.
func (d *Driver) Events() <-chan virt.Event { return d.events }

// Close ends the connections and waits for the driver's goroutines. Domains keep running.
func (d *Driver) Close() error {
	d.once.Do(func() {
		d.cancel()
		d.rpc.close()
		d.wg.Wait()
		close(d.events)
	})
	return nil
}

// emit passes a hint on, or drops it when nobody has taken the earlier ones.
func (d *Driver) emit(e virt.Event) {
	select {
	case d.events <- e:
	default:
	}
}

// passable says whether other users may pass through every directory above path, as QEMU's user must. It
// returns the first that bars the way, or "".
func passable(path string) string {
	for p := filepath.Clean(path); p != "/"; p = filepath.Dir(p) {
		if info, err := os.Stat(p); err == nil && info.Mode().Perm()&0o001 == 0 {
			return p
		}
	}
	return ""
}
