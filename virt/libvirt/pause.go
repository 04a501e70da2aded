package libvirt

import (
	"context"
	"errors"
	"fmt"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Stamp puts another stamp on a domain.
func (d *Driver) Stamp(ctx context.Context, s virt.Stamp) error {
	if err := d.putStamp(ctx, s); err != nil {
		return fmt.Errorf("stamp %s: %w", s.Instance, err)
	}
	return nil
}

func (d *Driver) putStamp(ctx context.Context, s virt.Stamp) error {
	if s.Cluster != d.cfg.ClusterID {
		return fmt.Errorf("the stamp is of cluster %q, not %q", s.Cluster, d.cfg.ClusterID)
	}
	dom, err := d.find(ctx, s.Instance)
	if err != nil {
		return err
	}
	on, err := d.active(ctx, dom)
	if err != nil {
		return err
	}
	places := []rpc.DomainModificationImpact{rpc.DomainAffectConfig}
	if on {
		places = append(places, rpc.DomainAffectLive)
	}
	defer d.views.forget(s.Instance)
	for _, where := range places {
		err := tell(ctx, d.rpc, "set metadata", func(l *rpc.Libvirt) error {
			element, err := l.DomainGetMetadata(dom, int32(rpc.DomainMetadataElement), rpc.OptString{metadataNamespace}, where)
			if err != nil {
				return err
			}
			if element, err = restamp(element, s); err != nil {
				return err
			}
			return l.DomainSetMetadata(dom, int32(rpc.DomainMetadataElement), rpc.OptString{element},
				rpc.OptString{"kilonova"}, rpc.OptString{metadataNamespace}, where)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Pause halts the guest's processors.
func (d *Driver) Pause(ctx context.Context, id cluster.InstanceID) error {
	err := d.switchTo(ctx, id, virt.PowerPaused, "suspend domain", func(l *rpc.Libvirt, dom rpc.Domain) error {
		return l.DomainSuspend(dom)
	})
	if err != nil {
		return fmt.Errorf("pause %s: %w", id, err)
	}
	return nil
}

// Unpause lets a paused guest go on.
func (d *Driver) Unpause(ctx context.Context, id cluster.InstanceID) error {
	err := d.switchTo(ctx, id, virt.PowerRunning, "resume domain", func(l *rpc.Libvirt, dom rpc.Domain) error {
		return l.DomainResume(dom)
	})
	if err != nil {
		return fmt.Errorf("unpause %s: %w", id, err)
	}
	return nil
}

// switchTo brings a domain that is on to another power state, unless it is there.
func (d *Driver) switchTo(ctx context.Context, id cluster.InstanceID, want virt.Power, what string, f func(*rpc.Libvirt, rpc.Domain) error) error {
	dom, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	switch now, err := d.power(ctx, dom); {
	case err != nil || now == want:
		return err
	case now != virt.PowerRunning && now != virt.PowerPaused:
		return virt.ErrNotRunning
	}
	err = tell(ctx, d.rpc, what, func(l *rpc.Libvirt) error { return f(l, dom) })
	if fromLibvirt(err) { // it may have gone off, or been switched, meanwhile
		if now, lookErr := d.power(ctx, dom); lookErr == nil && now == want {
			return nil
		} else if lookErr == nil && now == virt.PowerOff {
			return virt.ErrNotRunning
		}
	}
	return err
}

// power asks for a domain's power state.
func (d *Driver) power(ctx context.Context, dom rpc.Domain) (virt.Power, error) {
	return ask(ctx, d.rpc, "ask for the domain's state", func(l *rpc.Libvirt) (virt.Power, error) {
		state, reason, err := l.DomainGetState(dom, 0)
		p, _ := power(rpc.DomainState(state), reason)
		return p, err
	})
}

// needRunning gives the domain of an instance, which must be on.
func (d *Driver) needRunning(ctx context.Context, id cluster.InstanceID) (rpc.Domain, error) {
	dom, err := d.find(ctx, id)
	if err != nil {
		return dom, err
	}
	on, err := d.active(ctx, dom)
	if err == nil && !on {
		err = virt.ErrNotRunning
	}
	return dom, err
}

// Save writes the guest's memory to disk and powers the domain off.
func (d *Driver) Save(ctx context.Context, id cluster.InstanceID) error {
	if err := d.save(ctx, id); err != nil {
		return fmt.Errorf("save %s: %w", id, err)
	}
	return nil
}

func (d *Driver) save(ctx context.Context, id cluster.InstanceID) error {
	dom, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	on, err := d.active(ctx, dom)
	if err != nil {
		return err
	}
	if !on {
		return d.needSaved(ctx, dom)
	}
	if err := d.endMirror(ctx, dom); err != nil {
		return err
	}
	err = d.slowly(ctx, "save domain", func(l *rpc.Libvirt) error {
		return l.DomainManagedSave(dom, uint32(rpc.DomainSaveRunning)) // so that Start lets it go on, paused or not
	})
	if fromLibvirt(err) && !errors.Is(err, virt.ErrNotFound) {
		if on, lookErr := d.active(ctx, dom); lookErr == nil && !on {
			return d.needSaved(ctx, dom)
		}
	}
	return err
}

// needSaved gives nil when the domain's memory is on disk.
func (d *Driver) needSaved(ctx context.Context, dom rpc.Domain) error {
	has, err := ask(ctx, d.rpc, "ask for saved memory", func(l *rpc.Libvirt) (int32, error) {
		return l.DomainHasManagedSaveImage(dom, 0)
	})
	if err == nil && has == 0 {
		return virt.ErrNotRunning
	}
	return err
}

// unsave throws saved memory away.
func (d *Driver) unsave(ctx context.Context, dom rpc.Domain) error {
	if err := d.needSaved(ctx, dom); errors.Is(err, virt.ErrNotRunning) {
		return nil
	} else if err != nil {
		return err
	}
	return tell(ctx, d.rpc, "remove saved memory", func(l *rpc.Libvirt) error { return l.DomainManagedSaveRemove(dom, 0) })
}

// slowly makes one libvirt call that may take hours, over a connection of its own: the others would wait behind it,
// since libvirtd bounds how many calls of one connection it works on. It ends with ctx; libvirt goes on then.
func (d *Driver) slowly(ctx context.Context, what string, f func(*rpc.Libvirt) error) error {
	k := newLink(d.cfg.Socket, d.cfg.URI, slowTimeout, d.log)
	defer k.close()
	return tell(ctx, k, what, f)
}
