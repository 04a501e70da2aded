package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
)

// secretSpace is the name space of the UUIDs under which libvirt keeps the passphrases of volumes.
var secretSpace = uuid.MustParse("6f9a52b0-61a4-4c0e-8d0b-0c5e6a6d2f11")

// secretID names the passphrase of a disk.
func secretID(disk virt.DiskID) string { return uuid.NewSHA1(secretSpace, []byte(disk)).String() }

// keepSecrets gives libvirt the passphrases of encrypted disks. It keeps them in its memory alone and gives them to
// nobody but QEMU; they are gone when libvirtd ends.
func (d *Driver) keepSecrets(ctx context.Context, disks []virt.Disk) error {
	for _, disk := range disks {
		if disk.Secret == nil {
			continue
		}
		if err := d.keepSecret(ctx, disk); err != nil {
			return fmt.Errorf("keep the passphrase of disk %s: %w", disk.ID, err)
		}
	}
	return nil
}

func (d *Driver) keepSecret(ctx context.Context, disk virt.Disk) error {
	text, err := xml.Marshal(libvirtxml.Secret{
		Ephemeral: "yes", Private: "yes", UUID: secretID(disk.ID), Description: "volume of a Kilonova instance",
	})
	if err != nil {
		return err
	}
	return tell(ctx, d.rpc, "define secret", func(l *rpc.Libvirt) error {
		s, err := l.SecretDefineXML(string(text), 0)
		if err != nil {
			return err
		}
		return l.SecretSetValue(s, disk.Secret, 0)
	})
}

// secrets are the passphrases that libvirtd has, as far as somebody asked.
type secrets struct {
	asked bool
	known map[string]bool
}

// lacks tells whether libvirtd has forgotten the passphrase of one of a domain's disks, so that it cannot be started.
func (d *Driver) lacks(ctx context.Context, v domainView, s *secrets) (bool, error) {
	for _, disk := range v.Disks {
		id := disk.Source.Encryption.Secret.UUID
		if id == "" {
			continue
		}
		if !s.asked {
			list, err := ask(ctx, d.rpc, "list secrets", func(l *rpc.Libvirt) ([]rpc.Secret, error) {
				list, _, err := l.ConnectListAllSecrets(1, 0)
				return list, err
			})
			if err != nil {
				return false, err
			}
			s.asked, s.known = true, map[string]bool{}
			for _, secret := range list {
				s.known[uuid.UUID(secret.UUID).String()] = true
			}
		}
		if !s.known[id] {
			return true, nil
		}
	}
	return false, nil
}

// dropSecrets makes libvirt forget the passphrases of a domain's disks. A running guest does not need them any more.
func (d *Driver) dropSecrets(ctx context.Context, disks []diskView) error {
	var errs []error
	for _, disk := range disks {
		id, err := uuid.Parse(disk.Source.Encryption.Secret.UUID)
		if err != nil {
			continue // it has none
		}
		err = tell(ctx, d.rpc, "forget secret", func(l *rpc.Libvirt) error {
			s, err := l.SecretLookupByUUID(rpc.UUID(id))
			if err != nil {
				return err
			}
			return l.SecretUndefine(s)
		})
		if err != nil && !hasCode(err, rpc.ErrNoSecret) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// forgetSecrets drops the secrets of a domain that is about to go. One that stays behind does no harm: it is in
// libvirtd's memory alone.
func (d *Driver) forgetSecrets(ctx context.Context, dom rpc.Domain) {
	v, err := d.look(ctx, dom, rpc.DomainXMLInactive)
	if err == nil {
		err = d.dropSecrets(ctx, v.Disks)
	}
	if err != nil {
		d.log.Warn("passphrases of a removed domain stay with libvirtd", "domain", dom.Name, "err", err)
	}
}
