package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// migrationFlags: the libvirt here speaks with the libvirt there (over the socket that the node proxies) and needs us
// no more once it has begun; the guest runs on meanwhile; it is defined there when it runs there, and no longer here.
const migrationFlags = rpc.MigratePeer2peer | rpc.MigrateLive | rpc.MigratePersistDest | rpc.MigrateUndefineSource |
	rpc.MigrateChangeProtection | rpc.MigrateAbortOnError

// Migrate sends a running domain to where Receive was called. One that is under way already, from before this daemon
// was started, is waited for.
func (d *Driver) Migrate(ctx context.Context, id cluster.InstanceID, l virt.Landing, o virt.MigrateOptions, progress func(cluster.MoveProgress)) error {
	if progress == nil {
		progress = func(cluster.MoveProgress) {}
	}
	if err := d.migrate(ctx, id, l, o, progress); err != nil {
		return fmt.Errorf("migrate %s: %w", id, err)
	}
	return nil
}

func (d *Driver) migrate(ctx context.Context, id cluster.InstanceID, l virt.Landing, o virt.MigrateOptions, progress func(cluster.MoveProgress)) error {
	dom, err := d.needRunning(ctx, id)
	if err != nil {
		return err
	}
	defer d.views.forget(id)
	w := migrationWatch{d, dom, o.MaxDowntime, progress}
	if under, err := d.migrating(ctx, dom); err != nil {
		return err
	} else if under {
		return w.adopted(ctx)
	}
	if err := errors.Join(d.endBackup(ctx, dom), d.endMirror(ctx, dom)); err != nil {
		return err
	}
	params, flags, err := d.migrationOrder(ctx, dom, l, o)
	if err != nil {
		return err
	}
	to := url.URL{Scheme: "qemu+unix", Path: "/system", RawQuery: url.Values{"socket": {l.Libvirt}}.Encode()}
	done := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		done <- d.slowly(ctx, "migrate domain", func(k *rpc.Libvirt) error {
			_, err := k.DomainMigratePerform3Params(dom, rpc.OptString{"qemu+unix://" + to.Path + "?" + to.RawQuery}, params, nil, flags)
			return err
		})
		stop()
	}()
	w.follow(watching)
	return <-done // it ends with ctx at the latest
}

// migrationOrder gives the parameters and flags of a migration.
func (d *Driver) migrationOrder(ctx context.Context, dom rpc.Domain, l virt.Landing, o virt.MigrateOptions) ([]rpc.TypedParam, rpc.DomainMigrateFlags, error) {
	for what, path := range map[string]string{"libvirt": l.Libvirt, "memory": l.Memory, "disks": l.NBD} {
		if !filepath.IsAbs(path) && (what != "disks" || len(o.CopyDisks) > 0) {
			return nil, 0, fmt.Errorf("the socket for %s is %q: want an absolute path", what, path)
		}
	}
	running, stored, err := d.landingXMLs(ctx, dom, l)
	if err != nil {
		return nil, 0, err
	}
	text := func(name, value string) rpc.TypedParam {
		return rpc.TypedParam{Field: name, Value: *rpc.NewTypedParamValueString(value)}
	}
	v, err := d.look(ctx, dom, 0)
	if err != nil {
		return nil, 0, err
	}
	flags := migrationFlags | wishes(v.Type, o)
	params := []rpc.TypedParam{
		text(rpc.MigrateParamDestXML, running), text(rpc.MigrateParamPersistXML, stored),
		text(rpc.MigrateParamURI, (&url.URL{Scheme: "unix", Path: l.Memory}).String()),
	}
	if o.MiBPerSecond > 0 {
		params = append(params, rpc.TypedParam{Field: rpc.MigrateParamBandwidth, Value: *rpc.NewTypedParamValueUllong(uint64(o.MiBPerSecond))})
	}
	for _, disk := range v.Disks {
		switch {
		case slices.Contains(o.CopyDisks, disk.id()):
			params = append(params, text(rpc.MigrateParamMigrateDisks, disk.Target.Dev))
		case disk.Alias.Name != configAlias:
			// libvirt cannot tell that both hosts have this file in common; the caller says so.
			flags |= rpc.MigrateUnsafe
		}
	}
	if len(o.CopyDisks) > 0 {
		flags |= rpc.MigrateNonSharedInc // what differs from the base image, which is there already
		params = append(params, text(rpc.MigrateParamDisksURI, (&url.URL{Scheme: "unix", Path: l.NBD}).String()))
	}
	return params, flags, nil
}

// wishes are the flags of what may be chosen about a migration. A guest that QEMU emulates is never slowed down: before 9.0, QEMU misses
// some of what such a guest writes between two looks at its memory (it leaves old translations in place when it looks), and whoever is
// slowed down is looked at more often (seen with 7.2: kernels that fall over a list or a pointer within seconds of their arrival). Who
// cannot be sent fast enough is let stand still instead, when an operator hurries the migration.
func wishes(domainType string, o virt.MigrateOptions) (flags rpc.DomainMigrateFlags) {
	if o.AutoConverge && VirtType(domainType) == KVM {
		flags |= rpc.MigrateAutoConverge
	}
	if o.PostCopy {
		flags |= rpc.MigratePostcopy
	}
	return flags
}

// migrating tells whether the domain is on its way to another host.
func (d *Driver) migrating(ctx context.Context, dom rpc.Domain) (bool, error) {
	j, err := d.jobOf(ctx, dom, false)
	return err == nil && j.kind != rpc.DomainJobNone && j.op == rpc.DomainJobOperationStrMigrationOut, err
}

// migrationWatch looks at a migration from time to time.
type migrationWatch struct {
	d           *Driver
	dom         rpc.Domain
	maxDowntime time.Duration // 0, or still to be set
	progress    func(cluster.MoveProgress)
}

// follow tells of progress until ctx ends.
func (w migrationWatch) follow(ctx context.Context) {
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		j, err := w.d.jobOf(ctx, w.dom, false)
		if err != nil || j.op != rpc.DomainJobOperationStrMigrationOut {
			continue
		}
		w.tell(j)
		if w.maxDowntime > 0 { // QEMU takes it only while it migrates
			err := tell(ctx, w.d.rpc, "bound downtime", func(l *rpc.Libvirt) error {
				return l.DomainMigrateSetMaxDowntime(w.dom, uint64(max(1, w.maxDowntime.Milliseconds())), 0)
			})
			if err == nil {
				w.maxDowntime = 0
			}
		}
	}
}

func (w migrationWatch) tell(j job) {
	n := func(field string) int64 { return int64(j.numbers[field]) }
	w.progress(cluster.MoveProgress{
		MemoryTotal: n(rpc.DomainJobMemoryTotal), MemoryProcessed: n(rpc.DomainJobMemoryProcessed), MemoryRemaining: n(rpc.DomainJobMemoryRemaining),
		DiskTotal: n(rpc.DomainJobDiskTotal), DiskProcessed: n(rpc.DomainJobDiskProcessed), DiskRemaining: n(rpc.DomainJobDiskRemaining),
	})
}

// adopted waits for a migration that somebody else began, and says how it ended.
func (w migrationWatch) adopted(ctx context.Context) error {
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for {
		j, jobErr := w.d.jobOf(ctx, w.dom, false)
		on, err := w.d.active(ctx, w.dom)
		switch {
		case errors.Is(err, virt.ErrNotFound), err == nil && !on:
			return nil // it is there now
		case err != nil:
			return err
		case jobErr != nil && !fromLibvirt(jobErr): // libvirt's own say that the domain was going in between
			return jobErr
		case jobErr == nil && j.op == rpc.DomainJobOperationStrMigrationOut && j.kind != rpc.DomainJobNone:
			w.tell(j)
		case jobErr == nil:
			return errors.New("the migration that was under way ended, and the guest is still here")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// AbortMigrate ends a migration that is under way.
func (d *Driver) AbortMigrate(ctx context.Context, id cluster.InstanceID) error {
	dom, err := d.find(ctx, id)
	if errors.Is(err, virt.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = d.onMigration(ctx, dom, func(l *rpc.Libvirt) error { return l.DomainAbortJob(dom) })
	}
	if err != nil {
		return fmt.Errorf("abort migration of %s: %w", id, err)
	}
	return nil
}

// onMigration does something to a migration that is under way; when there is none, nothing.
func (d *Driver) onMigration(ctx context.Context, dom rpc.Domain, f func(*rpc.Libvirt) error) error {
	on, err := d.active(ctx, dom)
	if err != nil || !on {
		return err
	}
	if under, err := d.migrating(ctx, dom); err != nil || !under {
		return err
	}
	err = tell(ctx, d.rpc, "act on migration", f)
	if fromLibvirt(err) { // it may have ended meanwhile
		if under, lookErr := d.migrating(ctx, dom); lookErr == nil && !under {
			return nil
		}
	}
	return err
}

// ForceMigrate lets a migration complete that does not converge.
func (d *Driver) ForceMigrate(ctx context.Context, id cluster.InstanceID) error {
	dom, err := d.find(ctx, id)
	if err == nil {
		err = d.onMigration(ctx, dom, func(l *rpc.Libvirt) error {
			if err := l.DomainMigrateStartPostCopy(dom, 0); err == nil || !fromLibvirt(err) {
				return err
			}
			return l.DomainSuspend(dom) // libvirt lets it go on when it has arrived
		})
	}
	if err != nil {
		return fmt.Errorf("force migration of %s: %w", id, err)
	}
	return nil
}
