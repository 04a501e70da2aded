package cluster

import (
	"cmp"
	"slices"
	"strings"
)

// The properties by which Nova's clients know what an image was made of.
const (
	propInstance   = "instance_uuid"
	propImageType  = "image_type"
	propBackupType = "backup_type"
)

// captures says of each kind of capture when it may begin.
var captures = map[OperationKind]*transition{
	OpSnapshot: {action: "createImage", event: "compute_snapshot_instance", task: TaskSnapshot,
		from: []VMState{VMActive, VMStopped, VMPaused, VMSuspended}, during: []TaskState{TaskNone}},
	OpBackup: {action: "createBackup", event: "compute_backup_instance", task: TaskBackup,
		from: []VMState{VMActive, VMStopped, VMPaused, VMSuspended}, during: []TaskState{TaskNone}},
	OpShelve: {action: "shelve", event: "compute_shelve_instance", task: TaskShelving,
		from: []VMState{VMActive, VMStopped, VMPaused, VMSuspended}, during: []TaskState{TaskNone}},
}

func (s *State) beginCapture(o *BeginCapture) ([]string, *Error) {
	t, ok := captures[o.What]
	if !ok {
		return nil, Errorf(Invalid, "There is no capture called %.20q", string(o.What))
	}
	old, err := s.permitted(o.ID, t)
	if err != nil {
		return nil, err
	}
	if old.Op != nil {
		return nil, Errorf(Conflict, "Instance %s is in another operation", o.ID)
	}
	if err := firstOf(
		checkID("Operation", o.Operation),
		checkText("The backup's type", o.Backup),
		checkAmount("The rotation", int64(o.Rotation), 0, maxAmount),
	); err != nil {
		return nil, err
	}
	if o.What == OpShelve && old.Spec.Boot.Volume {
		return s.shelveInVolumes(o, old, t)
	}
	img := o.Image
	img.Owner, img.Status, img.Data, img.Revision = old.Project, ImageSaving, nil, 0
	if err := checkImage(&img); err != nil {
		return nil, err
	}
	if _, ok := s.t.images.Get(img.ID); ok {
		return nil, Errorf(Conflict, "Image %s exists already", img.ID)
	}
	img.Revision, img.Created, img.Updated = s.t.meta.Index, s.t.meta.Time, s.t.meta.Time
	s.putImage(&img)
	in := old.Clone()
	in.Op = s.newOperation(o.Operation, o.What, StepCapturing)
	in.Op.Capture = &Capture{Image: img.ID, Backup: o.Backup, Rotation: o.Rotation}
	if o.What == OpShelve && !in.isOff() {
		in.Op.Step = StepStopping
	}
	in.Status.Task, in.Status.Note, in.Status.Progress = t.task, "", 0
	s.began(in, t, o.By)
	s.saveInstance(in)
	return []string{string(in.ID), string(img.ID)}, nil
}

// isOff tells whether an instance is off, and shall be.
func (i *Instance) isOff() bool { return i.Wanted == WantOff && i.Status.Power == PowerShutdown }

// shelveInVolumes begins to put an instance away that boots from a volume: nothing has to be saved, it only has to be off.
func (s *State) shelveInVolumes(o *BeginCapture, old *Instance, t *transition) ([]string, *Error) {
	in := old.Clone()
	in.Op = s.newOperation(o.Operation, OpShelve, StepStopping)
	in.Op.Capture = &Capture{}
	in.Status.Task, in.Status.Note, in.Status.Progress = t.task, "", 0
	s.began(in, t, o.By)
	if in.isOff() {
		s.advance(in)
	}
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// stoppedToCapture goes on with a capture whose instance is off now.
func (s *State) stoppedToCapture(in *Instance) {
	if in.Op.Capture.Image != "" {
		s.step(in, StepCapturing)
		return
	}
	s.endActions(in, resultSuccess, "")
	in.Op = nil
	s.offload(in, "")
}

// captured ends a capture whose image is there. One whose image somebody deleted meanwhile has failed.
func (s *State) captured(in *Instance) {
	op := in.Op
	img, ok := s.t.images.Get(op.Capture.Image)
	if !ok || img.Status != ImageActive && img.Status != ImageDeactivated {
		s.failOperation(in, "The image was deleted before it was complete.")
		return
	}
	s.endActions(in, resultSuccess, "")
	in.Op = nil
	in.Status.Task, in.Status.Note, in.Status.Progress = TaskNone, "", 0
	switch op.Kind {
	case OpBackup:
		s.rotate(in, op.Capture)
	case OpShelve:
		s.offload(in, op.Capture.Image)
	}
}

// rotate deletes the oldest backups of a type beyond those that are to be kept.
func (s *State) rotate(in *Instance, c *Capture) {
	var kept []*Image
	for i := range values(&s.t.images) {
		p := i.Properties
		if i.Owner == in.Project && i.Status == ImageActive && p[propInstance] == string(in.ID) && p[propImageType] == "backup" && p[propBackupType] == c.Backup {
			kept = append(kept, i)
		}
	}
	slices.SortFunc(kept, func(a, b *Image) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), strings.Compare(string(b.ID), string(a.ID)))
	})
	for _, i := range kept[min(len(kept), c.Rotation):] {
		if !i.Protected {
			s.dropImage(i)
			s.dropSnapshotsOf(i)
		}
	}
}

// offload takes a shelved instance off its node: what it is made of is in the image or, without one, in its volumes.
func (s *State) offload(in *Instance, image ImageID) {
	in.Mode.Shelved, in.Mode.InVolumes = image, image == ""
	through := max(in.Epoch, in.Epochs.Given)
	s.entomb(in, in.Node, through, 0, in.Resources())
	in.Epoch, in.Epochs.Disk = in.newEpoch(), 0
	in.Node, in.Wanted = "", WantOff
	in.Generation++
	in.Status = Status{VM: VMOffloaded, Power: PowerShutdown}
}

// uncaptured ends a capture that failed: the instance goes on as it was.
func (s *State) uncaptured(in *Instance) {
	op := in.Op
	s.discardCapture(op.Capture.Image)
	in.Op = nil
	in.Status.Task, in.Status.Note, in.Status.Progress = TaskNone, "", 0
	switch {
	case op.Kind != OpShelve || in.Wanted != WantOn:
	case op.Step == StepStopping:
		s.keepOn(in)
	default:
		s.powerOnAgain(in)
	}
}

// discardCapture deletes an image that never became complete.
func (s *State) discardCapture(id ImageID) {
	if i, ok := s.t.images.Get(id); ok && i.Status == ImageSaving {
		s.dropImage(i)
	}
}

var unshelveTransition = transition{action: "unshelve", event: "", unplaced: true,
	from: []VMState{VMShelved, VMOffloaded}, during: []TaskState{TaskNone}}

func (s *State) unshelveInstance(o *UnshelveInstance) ([]string, *Error) {
	old, err := s.permitted(o.ID, &unshelveTransition)
	if err != nil {
		return nil, err
	}
	if err := checkText("The host", o.Host); err != nil {
		return nil, err
	}
	in := old.Clone()
	if o.Zone != nil {
		if err := checkText("The zone", *o.Zone); err != nil {
			return nil, err
		}
		in.Spec.Scheduling.Zone = *o.Zone
	}
	if err := s.bootFromShelf(in); err != nil {
		return nil, err
	}
	in.Wanted, in.Mode.Host = WantOn, o.Host
	in.Generation++
	in.Status.Task, in.Status.Fault = TaskUnshelving, nil
	s.began(in, &unshelveTransition, o.By)
	s.saveInstance(in)
	return []string{string(in.ID)}, nil
}

// bootFromShelf makes an instance boot from the image that it was saved to, if there is one.
func (s *State) bootFromShelf(in *Instance) *Error {
	if in.Mode.InVolumes {
		return nil
	}
	img, ok := s.t.images.Get(in.Mode.Shelved)
	if !ok || img.Data == nil {
		return Errorf(Conflict, "The image %s that instance %s was saved to is gone", in.Mode.Shelved, in.ID)
	}
	in.Images = slices.DeleteFunc(slices.Clone(in.Images), func(b BootImage) bool { return b.Part == BootDisk })
	in.Images = append(in.Images, BootImage{Part: BootDisk, Image: img.ID, Root: img.Data.Root, Format: img.Format.Disk})
	return nil
}

// unshelved forgets what an instance came back from.
func (s *State) unshelved(in *Instance) {
	if i, ok := s.t.images.Get(in.Mode.Shelved); ok && !i.Protected {
		s.dropImage(i)
	}
	in.Mode.Shelved, in.Mode.InVolumes = "", false
}
