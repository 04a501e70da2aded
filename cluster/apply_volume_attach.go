package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// maxVolumesPerInstance is how many volumes an instance has at most.
const maxVolumesPerInstance = 26

func (s *State) attachVolume(o *AttachVolume) ([]string, *Error) {
	v, ok := s.t.volumes.Get(o.Volume)
	if !ok {
		return nil, missingVolume(o.Volume)
	}
	old, ok := s.t.instances.Get(o.Attachment.Instance)
	if !ok {
		return nil, missingInstance(o.Attachment.Instance)
	}
	switch {
	case old.Wanted == WantDeleted:
		return nil, Errorf(Conflict, "Instance %s is being deleted", old.ID)
	case old.Op != nil && old.Op.Step != StepWaiting: // it may be about to leave the node that the volume would come to
		return nil, Errorf(Conflict, "Instance %s is in another operation", old.ID)
	}
	in := old.Clone()
	a := o.Attachment
	a.Boot = false
	c, err := s.bindVolume(v, in, a)
	if err != nil {
		return nil, err
	}
	if in.Node != "" {
		if err := s.bringVolume(c, in.Node); err != nil {
			return nil, err
		}
	}
	in.Generation++ // its domain gets another disk
	s.t.meta.AttachmentCount++
	s.begin(in, actionAttachVolume, o.By.asked(), eventAttachVolume)
	if in.Status.VM == VMOffloaded { // it is put together with the volume when it comes back
		mine, _ := c.AttachmentTo(in.ID)
		mine.State = Attached
		c.Status = c.flow()
		s.endActions(in, resultSuccess, "")
	}
	s.saveVolume(c)
	s.saveInstance(in)
	return []string{string(v.ID), string(a.ID)}, nil
}

const (
	actionAttachVolume = "attach_volume"
	actionDetachVolume = "detach_volume"
	actionExtendVolume = "extend_volume"
	eventExtendVolume  = "compute_extend_volume"
	eventAttachVolume  = "compute_attach_volume"
	eventDetachVolume  = "compute_detach_volume"
)

// bindVolume gives an instance a volume, if both are fit for it. Neither is stored.
func (s *State) bindVolume(v *Volume, in *Instance, a Attachment) (*Volume, *Error) {
	_, twice := v.AttachmentTo(in.ID)
	promised := v.Status == VolumeReserved || v.Status == VolumeAttaching && len(v.Attachments) == 0
	free := v.Status == VolumeAvailable || promised || v.Traits.Multiattach && (v.Status == VolumeInUse || v.Status == VolumeAttaching)
	have := s.volumesOf(in.ID)
	switch {
	case v.Project != in.Project:
		return nil, missingVolume(v.ID)
	case twice:
		return nil, Errorf(Invalid, "Invalid volume: volume %s is already attached to instance %s", v.ID, in.ID)
	case !free || len(v.Attachments) > 0 && !v.Traits.Multiattach:
		return nil, invalidVolume("volume '%s' status must be 'available'. Currently in '%s'", v.ID, v.Status)
	case len(have) >= maxVolumesPerInstance:
		return nil, Errorf(Forbidden, "The maximum allowed number of disk devices (%d) to attach to a single instance has been exceeded.", maxVolumesPerInstance)
	}
	if err := firstOf(checkID("Attachment", a.ID), checkText("The device", a.Device), checkText("The tag", a.Tag)); err != nil {
		return nil, err
	}
	device, err := chooseDevice(in, have, &a)
	if err != nil {
		return nil, err
	}
	c := v.Clone()
	a.Instance, a.Number, a.Device = in.ID, s.t.meta.AttachmentCount+1, device
	a.State, a.At = Attaching, s.t.meta.Time
	c.Attachments = append(c.Attachments, a)
	c.Generation++
	c.Status = c.flow()
	return c, nil
}

// devicePrefix is what the names of disks in guests begin with.
const devicePrefix = "/dev/vd"

// chooseDevice names a disk in its guest: as was asked for if the name is free, else by the first letter that no other
// disk has. The instance's own disks come first.
func chooseDevice(in *Instance, have []*Volume, a *Attachment) (string, *Error) {
	used := map[string]bool{}
	own := 0
	if !in.Spec.Boot.Volume {
		own++
	}
	if in.Spec.Flavor.Ephemeral > 0 {
		own++
	}
	if in.Spec.Flavor.SwapMiB > 0 {
		own++
	}
	for i := range own {
		used[letter(i)] = true
	}
	for _, v := range have {
		if other, ok := v.AttachmentTo(in.ID); ok {
			used[deviceLetter(other.Device)] = true
		}
	}
	if a.Device != "" && !used[deviceLetter(a.Device)] {
		return a.Device, nil
	}
	if a.Device != "" {
		return "", Errorf(Conflict, "The supplied device path (%s) is in use.", a.Device)
	}
	for i := range 26 {
		if !used[letter(i)] {
			return devicePrefix + letter(i), nil
		}
	}
	return "", Errorf(Conflict, "No device name is free on instance %s", in.ID)
}

func letter(i int) string { return string(rune('a' + i)) }

// deviceLetter is what tells a device apart: "c" of /dev/vdc, sdc and xvdc.
func deviceLetter(device string) string {
	name := strings.TrimPrefix(device, "/dev/")
	for _, prefix := range []string{"xvd", "vd", "sd", "hd"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return rest
		}
	}
	return name
}

// bringVolume sees that a volume can be used on a node: it is there, or shared, or its file can be made there.
func (s *State) bringVolume(v *Volume, id NodeID) *Error {
	if !v.Shared() && v.File.Node == id {
		return nil
	}
	if !v.Shared() && v.File.Node != "" {
		return Errorf(Conflict, "Volume %s is on node %s, and the instance is on node %s: a local volume is attached only where it is.",
			v.ID, s.nodeName(v.File.Node), s.nodeName(id))
	}
	if err := s.checkVolumeFits(v, id); err != nil {
		return err
	}
	if v.File.Node == "" || len(v.Attachments) < 2 && v.File.SizeGiB > 0 {
		v.File.Node = id
	}
	return nil
}

func (s *State) nodeName(id NodeID) string {
	if n, ok := s.t.nodes.Get(id); ok {
		return n.Name
	}
	return string(id)
}

func (s *State) detachVolume(o *DetachVolume) ([]string, *Error) {
	v, ok := s.t.volumes.Get(o.Volume)
	if !ok {
		return nil, missingVolume(o.Volume)
	}
	a, ok := v.AttachmentTo(o.Instance)
	if !ok {
		return nil, Errorf(NotFound, "Instance %s is not attached to volume %s", o.Instance, o.Volume)
	}
	if a.State == Detaching {
		return []string{string(v.ID)}, nil
	}
	old, ok := s.t.instances.Get(o.Instance)
	if !ok {
		return nil, Errorf(Conflict, "Instance %s is gone, and its node has not said so yet", o.Instance)
	}
	if a.Boot {
		return nil, Errorf(Invalid, "Cannot detach a root device volume")
	}
	in := old.Clone()
	in.Generation++
	s.begin(in, actionDetachVolume, o.By.asked(), eventDetachVolume)
	if in.Node == "" {
		s.unbindVolume(v, in.ID)
		s.endActions(in, resultSuccess, "")
	} else {
		c := v.Clone()
		mine, _ := c.AttachmentTo(in.ID)
		mine.State = Detaching
		c.Generation++
		c.Status = c.flow()
		s.saveVolume(c)
	}
	s.saveInstance(in)
	return []string{string(v.ID)}, nil
}

func (s *State) updateAttachment(o *UpdateAttachment) ([]string, *Error) {
	v, ok := s.t.volumes.Get(o.Volume)
	if !ok {
		return nil, missingVolume(o.Volume)
	}
	c := v.Clone()
	a, ok := c.AttachmentTo(o.Instance)
	if !ok {
		return nil, Errorf(NotFound, "Instance %s is not attached to volume %s", o.Instance, o.Volume)
	}
	a.DeleteOnTermination = o.DeleteOnTermination
	s.saveVolume(c)
	return []string{string(v.ID)}, nil
}

// unbindVolume ends the attachment of a volume to an instance.
func (s *State) unbindVolume(v *Volume, id InstanceID) *Volume {
	c := v.Clone()
	c.Attachments = slices.DeleteFunc(c.Attachments, func(a Attachment) bool { return a.Instance == id })
	c.Generation++
	c.proceed()
	s.saveVolume(c)
	return c
}

// giveVolumes gives a new instance its volumes, making those that are new. The instance itself is stored later.
func (s *State) giveVolumes(in *Instance, volumes []NewVolume, undo *undoVolumes) *Error {
	for i := range volumes {
		nv := &volumes[i]
		old, exists := s.t.volumes.Get(nv.Existing)
		v := old
		switch {
		case nv.New != nil:
			asked := nv.New.Clone()
			asked.Project, asked.User = in.Project, in.User
			made, err := s.makeVolume(asked)
			if err != nil {
				return err
			}
			made.Status = VolumeAvailable // for the moment; what it is follows from its attachment
			v = made
		case !exists:
			return Errorf(Invalid, "Block Device Mapping is Invalid: failed to get volume %s.", nv.Existing)
		}
		c, err := s.bindVolume(v, in, nv.Attachment)
		if err != nil {
			return err
		}
		if exists {
			undo.bound = append(undo.bound, old)
		} else {
			undo.made = append(undo.made, c)
		}
		s.t.meta.AttachmentCount++
		s.saveVolume(c)
	}
	if n := s.t.volumeNeeds(in.ID); n.Split {
		return Errorf(Invalid, "Block Device Mapping is Invalid: its local volumes are on different nodes.")
	}
	return nil
}

// undoVolumes is what a create did to volumes, for the case that it is refused half-way.
type undoVolumes struct {
	made  []*Volume
	bound []*Volume // as they were before
	count int64     // of attachments before
}

func (u *undoVolumes) run(s *State) {
	s.t.meta.AttachmentCount = u.count
	for _, v := range u.made {
		s.dropVolume(v)
	}
	for _, v := range slices.Backward(u.bound) { // one that several instances got was kept several times
		s.putVolume(v)
	}
}

// volumesAccept tells why an instance's volumes cannot be on a node; nil: they can. room is what is free for their files
// besides what the instance itself takes there.
func (s *State) volumesAccept(in *Instance, id NodeID) *Error {
	if err := s.volumesReach(in, id); err != nil {
		return err
	}
	n, _ := s.t.nodes.Get(id)
	return s.checkDisk(n, false, s.t.volumeNeeds(in.ID).DiskGiB+in.Resources().DiskGiB)
}

// volumesReach is volumesAccept for a node that has the room.
func (s *State) volumesReach(in *Instance, id NodeID) *Error {
	needs := s.t.volumeNeeds(in.ID)
	n, ok := s.t.nodes.Get(id)
	switch {
	case !ok:
		return Errorf(NoRoom, "The node %.64s is not in the cluster", id)
	case needs.Split, needs.Node != "" && needs.Node != id:
		return Errorf(Conflict, "Instance %s has a local volume on node %s, so it cannot be on node %s", in.ID, s.nodeName(needs.Node), n.Name)
	case needs.Shared && !hasShare(n):
		return Errorf(Conflict, "The node %s does not have the directory for shared volumes", n.Name)
	}
	return nil
}

// bringVolumes has the volumes of an instance be on the node that it was just given, which volumesAccept found fit.
func (s *State) bringVolumes(in *Instance) {
	for _, v := range s.volumesOf(in.ID) {
		c := v.Clone()
		if err := s.bringVolume(c, in.Node); err != nil {
			a, _ := c.AttachmentTo(in.ID)
			c.Fault = clip(fmt.Sprintf("It cannot be attached at %s: %s", a.Device, err.Message), maxText)
		}
		c.Generation++
		s.saveVolume(c)
	}
}

// releaseVolumes lets go of the volumes of an instance that is gone, as soon as no node can have a domain of it any more:
// until then a disk could get a second writer. Those that shall go with it do.
func (s *State) releaseVolumes(id InstanceID) {
	volumes := s.volumesOf(id)
	if len(volumes) == 0 {
		return
	}
	if _, there := s.t.instances.Get(id); there {
		return
	}
	for n := range values(&s.t.nodes) {
		if _, pending := s.t.tombstones.Get(nodeKey(n.ID, id)); pending {
			return
		}
	}
	for _, v := range volumes {
		a, _ := v.AttachmentTo(id)
		goes := a.DeleteOnTermination
		c := s.unbindVolume(v, id)
		if goes && len(c.Attachments) == 0 && !s.hasSnapshots(c.ID) {
			s.endVolume(c)
		}
	}
}

func (b *By) asked() asked { return asked{request: b.Request, project: b.Project, user: b.User} }

// checkNewVolumes judges what can be judged of a new instance's volumes without the state.
func checkNewVolumes(volumes []NewVolume) *Error {
	if err := checkAmount("The number of volumes", int64(len(volumes)), 0, maxVolumesPerInstance); err != nil {
		return err
	}
	for i := range volumes {
		if (volumes[i].New == nil) == (volumes[i].Existing == "") {
			return Errorf(Invalid, "A volume of a new instance is either an existing one or a new one")
		}
	}
	return nil
}
