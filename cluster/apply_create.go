package cluster

import "strings"

const (
	defaultZone   = "nova" // Nova's name for the zone of what has none
	faultCode     = 500    // as Nova shows the faults of instances
	noValidHost   = "No valid host was found. There are not enough hosts available."
	computePrefix = "compute:" // of the device owner of an instance's ports, before the zone
)

func (s *State) createInstances(o *CreateInstances) ([]string, *Error) {
	if err := s.checkCreate(o); err != nil {
		return nil, err
	}
	var undo undoPorts
	volumes := undoVolumes{count: s.t.meta.AttachmentCount}
	made := make([]*Instance, len(o.Items))
	for i := range o.Items {
		in := s.newInstance(o, &o.Items[i])
		made[i] = in
		for j := range o.Items[i].Ports {
			if err := s.attach(in, &o.Items[i].Ports[j], &undo); err != nil {
				volumes.run(s)
				undo.run(s)
				return nil, err
			}
		}
		if err := s.giveVolumes(in, o.Items[i].Volumes, &volumes); err != nil {
			volumes.run(s)
			undo.run(s)
			return nil, err
		}
	}
	ids := make([]string, len(made))
	for i, in := range made {
		s.t.meta.InstanceCount++
		in.Number, in.LaunchIndex = s.t.meta.InstanceCount, i
		s.build(in, o, &o.Items[i])
		ids[i] = string(in.ID)
	}
	return ids, nil
}

// newInstance makes the record of an instance that has no node yet.
func (s *State) newInstance(o *CreateInstances, item *NewInstance) *Instance {
	spec := o.Spec
	spec.Name, spec.Hostname = item.Name, item.Hostname
	now := s.t.meta.Time
	return &Instance{
		ID: item.ID, Revision: s.t.meta.Index, Project: o.Project, User: o.User, Spec: spec,
		Generation: 1, Wanted: WantOn, Placement: item.Explanation, Images: s.bootImages(&spec),
		Status: Status{VM: VMBuilding, Task: TaskScheduling},
		Times:  InstanceTimes{Created: now, Updated: now},
	}
}

// bootImages are the images that an instance boots from, as far as they have data.
func (s *State) bootImages(spec *Spec) []BootImage {
	var images []BootImage
	for _, p := range []struct {
		part BootPart
		id   ImageID
	}{{BootDisk, spec.Image}, {BootKernel, spec.Boot.Kernel}, {BootRamdisk, spec.Boot.Ramdisk}} {
		if img, ok := s.t.images.Get(p.id); ok && img.Data != nil {
			images = append(images, BootImage{Part: p.part, Image: img.ID, Root: img.Data.Root, Format: img.Format.Disk})
		}
	}
	return images
}

// build stores a new instance: on its node if it still fits there, waiting for one if it does not or none was
// looked for yet, or in error if there is none.
func (s *State) build(in *Instance, o *CreateInstances, item *NewInstance) {
	by := asked{request: o.Request, project: o.Project, user: o.User}
	switch {
	case item.Node != "" && s.accepts(item.Node, in.Resources()) == nil && s.groupAdmits(in, item.Node) == nil &&
		s.volumesAccept(in, item.Node) == nil:
		s.settle(in, item.Node)
		s.begin(in, actionCreate, by, eventBuild)
	case item.Node == "" && item.Explanation != nil:
		s.begin(in, actionCreate, by, eventSchedule)
		s.strand(in)
	default:
		in.Placement = nil
		s.begin(in, actionCreate, by, "")
	}
	s.putInstance(in)
}

// settle gives an instance its node.
func (s *State) settle(in *Instance, id NodeID) {
	in.Node = id
	in.Epoch, in.Epochs.Disk = in.Epoch+1, 0
	if in.Epochs.Given != 0 {
		in.Epoch = in.newEpoch()
	}
	in.Mode.Host = ""
	in.Status.Task = TaskSpawning
	s.setPortOwner(in, s.portOwner(in))
	s.bringVolumes(in)
}

// strand puts an instance that found no node in error.
func (s *State) strand(in *Instance) {
	f := &Fault{Code: faultCode, Message: noValidHost, Created: s.t.meta.Time}
	if in.Placement != nil && len(in.Placement.Reasons) > 0 {
		f.Message = clip(noValidHost+" "+strings.Join(in.Placement.Reasons, ", "), maxName)
		f.Details = strings.Join(in.Placement.Reasons, "\n")
	}
	in.Status = Status{VM: VMError, Fault: f}
	if in.Mode.away() { // it stays where it is, in its image or its volumes
		in.Status.VM, in.Wanted, in.Mode.Host = VMOffloaded, WantOff, ""
	}
	s.endActions(in, resultError, noValidHost)
}

// accepts tells why a node does not take an instance of that size; nil: it does.
func (s *State) accepts(id NodeID, r Resources) *Error {
	n, ok := s.t.nodes.Get(id)
	switch {
	case s.t.meta.Restored.Held():
		return Errorf(NoRoom, "The cluster was restored from a backup, and its operator has not confirmed yet that the former one runs nothing")
	case !ok:
		return Errorf(NoRoom, "The node %.64s is not in the cluster", id)
	case n.Witness, !n.Host.Ready:
		return Errorf(NoRoom, "The hypervisor of node %s is not ready", n.Name)
	case n.Lost != nil, s.expelled(id):
		return Errorf(NoRoom, "The node %s is taken for dead", n.Name)
	case n.Service.Disabled, n.Service.Draining, n.Service.ForcedDown:
		return Errorf(NoRoom, "The node %s takes no new instances", n.Name)
	}
	used, _ := s.t.allocated.Get(id)
	if !used.Add(r).Fits(n.Capacity.Limit()) {
		return Errorf(NoRoom, "The node %s has no room for %d vCPUs, %d MiB of memory and %d GiB of disk",
			n.Name, r.VCPUs, r.MemoryMiB, r.DiskGiB)
	}
	return nil
}

// portOwner is the device owner of an instance's ports.
func (s *State) portOwner(in *Instance) string {
	zone := in.Spec.Scheduling.Zone
	if n, ok := s.t.nodes.Get(in.Node); ok {
		zone = s.t.zoneOf(n)
	}
	if zone == "" {
		zone = defaultZone
	}
	return computePrefix + zone
}

// attach gives a new instance one port. The instance itself is stored later.
func (s *State) attach(in *Instance, np *NewPort, undo *undoPorts) *Error {
	owner := s.portOwner(in)
	if np.Existing != "" {
		old, err := s.bindPort(np.Existing, in, owner)
		if err != nil {
			return err
		}
		undo.bound = append(undo.bound, old)
		in.Ports = append(in.Ports, np.Existing)
		return nil
	}
	p := np.New.Clone()
	p.Project, p.Device, p.DeviceOwner, p.AutoDelete = in.Project, string(in.ID), owner, true
	u, _ := s.t.usage.Get(p.Project)
	switch {
	case s.exceeds(p.Project, QuotaPorts, u.Ports, 1):
		return Errorf(OverQuota, "Maximum number of ports exceeded")
	case s.hasPort(p.ID):
		return Errorf(Conflict, "Port %s exists already", p.ID)
	}
	if err := s.makePort(p, false); err != nil {
		return err
	}
	undo.made = append(undo.made, p)
	in.Ports = append(in.Ports, p.ID)
	return nil
}

func (s *State) hasPort(id PortID) bool { _, ok := s.t.ports.Get(id); return ok }

// undoPorts is what a create did to ports, for the case that it is refused half-way.
type undoPorts struct {
	made  []*Port
	bound []*Port // as they were before
}

func (u *undoPorts) run(s *State) {
	for _, p := range u.made {
		s.dropPort(p)
	}
	for _, p := range u.bound {
		s.putPort(p)
	}
}
