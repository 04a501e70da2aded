package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/configdrive"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Build makes the guest's disks where they do not exist and defines its domain. It may be repeated after a
// crash at any point: each file appears complete or not at all, and defining a domain again replaces its
// definition.
func (d *Driver) Build(ctx context.Context, g virt.Guest) error {
	if err := d.build(ctx, g); err != nil {
		return fmt.Errorf("build %s: %w", g.Stamp.Instance, err)
	}
	return nil
}

func (d *Driver) build(ctx context.Context, g virt.Guest) error {
	if err := d.checkGuest(g); err != nil {
		return err
	}
	at, err := d.store.at(g.Stamp.Instance)
	if err != nil {
		return err
	}
	legacy := g.DiskEpoch
	switch dom, stamp, err := d.findStamped(ctx, g.Stamp.Instance); {
	case err == nil:
		if on, err := d.active(ctx, dom); err != nil || on {
			return err
		}
		legacy = stamp.Epoch
	case !errors.Is(err, virt.ErrNotFound):
		return err
	}
	if err := at.adopt(legacy); err != nil {
		return err
	}
	p, err := d.platform(ctx)
	if err != nil {
		return err
	}
	definition, err := domainXML(g, p, at) // before anything is made: a guest that has no definition leaves no files
	if err != nil {
		return err
	}
	if err := d.makeFiles(ctx, g, at); err != nil {
		return err
	}
	if err := d.keepSecrets(ctx, g.Disks); err != nil {
		return err
	}
	if p.filtered && len(g.NICs) > 0 {
		if err := d.defineFilters(ctx); err != nil {
			return err
		}
	}
	d.views.forget(g.Stamp.Instance)
	defer d.views.forget(g.Stamp.Instance)
	return d.define(ctx, definition)
}

// define gives libvirt the definition, and makes sure that the domain does not start by itself.
func (d *Driver) define(ctx context.Context, definition string) error {
	dom, err := ask(ctx, d.rpc, "define domain", func(l *rpc.Libvirt) (rpc.Domain, error) {
		return l.DomainDefineXMLFlags(definition, 0)
	})
	if err != nil {
		return err
	}
	return tell(ctx, d.rpc, "keep domain from starting by itself", func(l *rpc.Libvirt) error {
		return l.DomainSetAutostart(dom, 0)
	})
}

// makeFiles makes what is missing of the instance's files.
func (d *Driver) makeFiles(ctx context.Context, g virt.Guest, at place) error {
	if err := at.make(g.DiskEpoch); err != nil {
		return err
	}
	if err := d.makeDisks(ctx, g, at); err != nil {
		return err
	}
	return makeConfigDrive(g, at)
}

// makeConfigDrive writes the config drive when it is missing or its contents changed. The drive is no disk of
// the guest's: it is read-only and made from the guest's description alone.
func makeConfigDrive(g virt.Guest, at place) error {
	if g.ConfigDrive == nil {
		return errors.Join(removeFile(at.config()), removeFile(at.configSum()))
	}
	sum := driveSum(g.ConfigDrive)
	old, err := os.ReadFile(at.configSum())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there, err := exists(at.config())
	if err != nil || there && string(old) == sum {
		return err
	}
	if err := removeFile(at.configSum()); err != nil { // a crash from here on makes the next Build write again
		return err
	}
	if err := configdrive.WriteISO(at.config(), g.ConfigDrive); err != nil {
		return err
	}
	return os.WriteFile(at.configSum(), []byte(sum), 0o600)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// driveSum is a digest of the drive's contents.
func driveSum(files map[string][]byte) string {
	h := sha256.New()
	var length [8]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint64(length[:], uint64(len(b)))
		h.Write(length[:])
		h.Write(b)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		write([]byte(path))
		write(files[path])
	}
	return hex.EncodeToString(h.Sum(nil))
}
