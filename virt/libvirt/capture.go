package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
)

const (
	jobPoll = 200 * time.Millisecond
	// freezeTimeout bounds how long a guest agent may take to freeze and to thaw its file systems.
	freezeTimeout = 5 * time.Second
	// abortTimeout bounds what is cleared away after the caller has given up.
	abortTimeout = 10 * time.Second
)

// Capture writes a copy of a disk to a new qcow2 file. Of a running guest QEMU copies the disk as it was when the
// copy began, while the guest goes on; what the guest overwrites meanwhile is copied first.
func (d *Driver) Capture(ctx context.Context, id cluster.InstanceID, which virt.DiskID, path string, quiesce bool, progress func(int)) error {
	if progress == nil {
		progress = func(int) {}
	}
	if err := d.capture(ctx, id, which, captureOrder{path, quiesce, progress}); err != nil {
		return fmt.Errorf("capture disk %s of %s: %w", which, id, err)
	}
	return nil
}

// captureOrder is what the caller of Capture wants.
type captureOrder struct {
	path     string
	quiesce  bool
	progress func(percent int)
}

func (d *Driver) capture(ctx context.Context, id cluster.InstanceID, which virt.DiskID, o captureOrder) error {
	if !plainPath(o.path) {
		return fmt.Errorf("%q: want an absolute path", o.path)
	}
	at, err := d.store.at(id)
	if err != nil {
		return err
	}
	done, err := d.copies.take(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	f, err := d.fit(ctx, id)
	if err != nil {
		return err
	}
	dv, there := f.live.disk(which)
	if !there {
		return virt.ErrNotFound
	}
	if err := errors.Join(d.endBackup(ctx, f.dom), d.endMirror(ctx, f.dom)); err != nil {
		return err
	}
	// QEMU writes into the instance's own directory: nowhere else is sure to be open to its user.
	temp := at.capture()
	if err := removeFile(temp); err != nil {
		return err
	}
	defer os.Remove(temp)
	if !f.on {
		err = disk.Convert(ctx, dv.Source.File, disk.Format(dv.Driver.Type), temp, disk.QCOW2)
	} else {
		err = d.backup(ctx, f, dv, temp, o)
	}
	if err == nil {
		err = moveFile(ctx, temp, o.path)
	}
	if err == nil {
		o.progress(100)
	}
	return err
}

// backup lets QEMU copy the disk, and waits for it.
func (d *Driver) backup(ctx context.Context, f fitting, dv diskView, temp string, o captureOrder) error {
	text, err := backupXML(f.live, dv, temp)
	if err != nil {
		return err
	}
	thaw := func() error { return nil }
	if o.quiesce {
		thaw = d.freeze(ctx, f)
	}
	err = tell(ctx, d.rpc, "begin backup", func(l *rpc.Libvirt) error { return l.DomainBackupBegin(f.dom, text, nil, 0) })
	err = errors.Join(err, thaw())
	if err == nil {
		err = d.awaitBackup(ctx, f.dom, dv.Target.Dev, temp, o.progress)
	}
	if err != nil {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		err = errors.Join(err, d.endBackup(late, f.dom))
	}
	return err
}

// backupXML orders a full copy of one disk (the element domainbackup of libvirt's "Backup XML format").
func backupXML(v domainView, dv diskView, target string) (string, error) {
	b := libvirtxml.DomainBackup{Push: &libvirtxml.DomainBackupPush{Disks: &libvirtxml.DomainBackupPushDisks{}}}
	for _, other := range v.Disks {
		one := libvirtxml.DomainBackupPushDisk{Name: other.Target.Dev, Backup: "no"}
		if other.Target.Dev == dv.Target.Dev {
			one.Backup = "yes"
			one.Driver = &libvirtxml.DomainBackupDiskDriver{Type: "qcow2"}
			one.Target = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: target}}
		}
		b.Push.Disks.Disks = append(b.Push.Disks.Disks, one)
	}
	text, err := xml.Marshal(&b)
	return string(text), err
}

// job is the work that libvirt does on a domain.
type job struct {
	kind    rpc.DomainJobType
	op      rpc.DomainJobOperation
	numbers map[string]uint64
	errmsg  string
}

// jobOf asks for the work under way, or, with completed, for the last that ended.
func (d *Driver) jobOf(ctx context.Context, dom rpc.Domain, completed bool) (job, error) {
	flags := rpc.DomainGetJobStatsFlags(0)
	if completed {
		flags = rpc.DomainJobStatsCompleted | rpc.DomainJobStatsKeepCompleted
	}
	return ask(ctx, d.rpc, "ask for the domain's job", func(l *rpc.Libvirt) (job, error) {
		kind, params, err := l.DomainGetJobStats(dom, flags)
		j := job{kind: rpc.DomainJobType(kind), numbers: map[string]uint64{}}
		for _, p := range params {
			switch v := p.Value.I.(type) {
			case uint64:
				j.numbers[p.Field] = v
			case int32:
				if p.Field == rpc.DomainJobOperationStr {
					j.op = rpc.DomainJobOperation(v)
				}
			case string:
				if p.Field == rpc.DomainJobErrmsg {
					j.errmsg = v
				}
			}
		}
		return j, err
	})
}

// awaitBackup follows the copy of a device to a file until it has ended, at a pace that leaves the disk to others, too.
func (d *Driver) awaitBackup(ctx context.Context, dom rpc.Domain, device, temp string, progress func(int)) error {
	p, err := newPacer(dom, device, temp)
	if err != nil {
		return err
	}
	defer p.close()
	tick := time.NewTicker(paceStep)
	defer tick.Stop()
	for gone := int64(0); ; {
		if err := p.step(ctx, d, gone); err != nil {
			return err
		}
		j, err := d.jobOf(ctx, dom, false)
		if err != nil {
			return err
		}
		if j.kind == rpc.DomainJobNone || j.op != rpc.DomainJobOperationStrBackup {
			return d.judgeBackup(ctx, dom)
		}
		gone = int64(j.numbers[rpc.DomainJobDiskProcessed])
		if total := j.numbers[rpc.DomainJobDiskTotal]; total > 0 {
			progress(int(min(99, 100*j.numbers[rpc.DomainJobDiskProcessed]/total)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// judgeBackup says how the last backup ended.
func (d *Driver) judgeBackup(ctx context.Context, dom rpc.Domain) error {
	j, err := d.jobOf(ctx, dom, true)
	switch {
	case err != nil:
		return err
	case j.op != rpc.DomainJobOperationStrBackup:
		return errors.New("the copy ended, and nobody knows how")
	case j.kind != rpc.DomainJobCompleted:
		return fmt.Errorf("the copy was broken off: %s", j.errmsg)
	}
	return nil
}

// endBackup breaks off a copy that is under way, and waits until it is gone.
func (d *Driver) endBackup(ctx context.Context, dom rpc.Domain) error {
	for asked := false; ; {
		on, err := d.active(ctx, dom)
		if err != nil || !on {
			return err
		}
		j, err := d.jobOf(ctx, dom, false)
		if err != nil || j.kind == rpc.DomainJobNone || j.op != rpc.DomainJobOperationStrBackup {
			return err
		}
		if !asked {
			err := tell(ctx, d.rpc, "abort backup", func(l *rpc.Libvirt) error { return l.DomainAbortJob(dom) })
			if err != nil && !hasCode(err, rpc.ErrOperationInvalid) { // it may have ended by itself
				return err
			}
			asked = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jobPoll):
		}
	}
}

// freeze makes the guest's agent freeze its file systems, if it has one that listens, and gives what thaws them.
func (d *Driver) freeze(ctx context.Context, f fitting) (thaw func() error) {
	if !f.live.agent() {
		return func() error { return nil }
	}
	// The limit is ours: an agent that hangs must not hold up the capture. A thaw follows even after a freeze of
	// which nobody knows how it ended.
	limited, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	_, err := ask(limited, d.rpc, "freeze file systems", func(l *rpc.Libvirt) (int32, error) { return l.DomainFsfreeze(f.dom, nil, 0) })
	if err != nil {
		d.log.Warn("a guest is captured without being quiesced", "domain", f.dom.Name, "err", err)
	}
	return func() error {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), freezeTimeout)
		defer cancel()
		_, thawErr := ask(late, d.rpc, "thaw file systems", func(l *rpc.Libvirt) (int32, error) { return l.DomainFsthaw(f.dom, nil, 0) })
		if err != nil { // it most likely never froze
			return nil
		}
		return thawErr
	}
}

// agent tells whether a guest agent listens.
func (v domainView) agent() bool {
	for _, c := range v.Channels {
		if c.Target.Name == agentChannel && c.Target.State == "connected" {
			return true
		}
	}
	return false
}

// moveFile gives a file its final name, over a file that is there, and copies it when that is on another file system.
func moveFile(ctx context.Context, from, to string) error {
	if err := os.Chown(from, os.Geteuid(), os.Getegid()); err != nil { // QEMU's user wrote it
		return err
	}
	err := os.Rename(from, to)
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	if err := removeFile(to); err != nil {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	extents, err := disk.Extents(f)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return disk.WriteSparse(ctx, to, size, f, extents, nil)
}
