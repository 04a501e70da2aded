package cluster

import "slices"

// maxVolumeTypes is how many types administrators make at most.
const maxVolumeTypes = 256

// PutVolumeType makes a volume type, or replaces one (see the note on Put ops in op_identity.go). Conflict when the name is another's;
// Invalid when volumes of the type would be another kind of volume than they were made.
type PutVolumeType struct {
	Type VolumeType `json:"type"`
}

// DeleteVolumeType removes a volume type. Invalid while something is of that type.
type DeleteVolumeType struct {
	ID string `json:"id"`
}

// Kind of each op.
func (*PutVolumeType) Kind() Kind    { return KindPutVolumeType }
func (*DeleteVolumeType) Kind() Kind { return KindDeleteVolumeType }

func missingType(id string) *Error {
	return Errorf(NotFound, "Volume type %.64s could not be found.", id)
}

func (s *State) saveVolumeType(o *PutVolumeType) ([]string, *Error) {
	t := o.Type.Clone()
	old, exists := s.t.volumeTypes.Get(t.ID)
	before := VolumeType{}
	if exists {
		before = *old
	}
	if err := firstOf(checkVolumeType(t), revised("Volume type", t.ID, t.Revision, before.Revision, exists)); err != nil {
		return nil, err
	}
	if other, taken := s.t.volumeType(t.Name); taken && other.ID != t.ID {
		return nil, Errorf(Conflict, "Volume Type %s already exists.", t.Name)
	}
	for _, p := range t.Projects {
		if err := s.checkProjectIs(p); err != nil {
			return nil, err
		}
	}
	t.Created = s.t.meta.Time
	if exists {
		t.Created, t.Updated = before.Created, s.t.meta.Time
		kind := before.Shared() != t.Shared() || before.Multiattach() != t.Multiattach() || !sameEncryption(before.Encryption, t.Encryption)
		if kind && s.t.typeInUse(t.ID) {
			return nil, Errorf(Invalid, "Volume Type is currently in use.")
		}
	} else if s.t.volumeTypes.Len() >= maxVolumeTypes {
		return nil, Errorf(OverQuota, "There are %d volume types already", maxVolumeTypes)
	}
	t.Revision = s.t.meta.Index
	s.putVolumeType(t)
	return []string{t.ID}, nil
}

func checkVolumeType(t *VolumeType) *Error {
	if t.BuiltIn() {
		return Errorf(Invalid, "The volume type %s is built in and cannot be changed", t.ID)
	}
	if len(t.Projects) > maxListed || !slices.IsSorted(t.Projects) || len(slices.Compact(slices.Clone(t.Projects))) != len(t.Projects) {
		return Errorf(Invalid, "The projects of a volume type must be sorted and differ, and be no more than %d", maxListed)
	}
	if err := firstOf(
		checkID("Volume type", t.ID),
		checkName("The volume type's name", t.Name),
		checkLines("The volume type's description", t.Description, maxText),
		checkMap("The extra specs", t.Specs, maxListed, maxText),
	); err != nil {
		return err
	}
	if e := t.Encryption; e != nil {
		return firstOf(
			checkID("Encryption", e.ID),
			checkName("The encryption's provider", e.Provider),
			checkText("The cipher", e.Cipher),
			checkAmount("key_size", e.KeyBits, 0, maxKeyBits),
			oneOf("The encryption's control location", e.Location, FrontEnd, "back-end"),
		)
	}
	return nil
}

const maxKeyBits = 1 << 20

// sameEncryption tells whether two types encrypt alike.
func sameEncryption(a, b *TypeEncryption) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func (s *State) deleteVolumeType(o *DeleteVolumeType) ([]string, *Error) {
	t, ok := s.t.volumeType(o.ID)
	switch {
	case !ok:
		return nil, missingType(o.ID)
	case t.BuiltIn():
		return nil, Errorf(Invalid, "The volume type %s is built in and cannot be deleted", t.Name)
	case s.t.typeInUse(t.ID):
		return nil, Errorf(Invalid, "Volume Type %s deletion is not allowed with volumes present with the type.", t.ID)
	}
	s.t.volumeTypes.Delete(t.ID)
	s.t.typeByName.Delete(t.Name)
	return []string{t.ID}, nil
}

// typeInUse tells whether a volume or a snapshot is of a type. It looks at all of them: types seldom change.
func (t *tables) typeInUse(id string) bool {
	for v := range values(&t.volumes) {
		if v.Type == id {
			return true
		}
	}
	for n := range values(&t.snapshots) {
		if n.Type == id {
			return true
		}
	}
	return false
}

func (s *State) putVolumeType(t *VolumeType) {
	if old, ok := s.t.volumeTypes.Get(t.ID); ok {
		s.t.typeByName.Delete(old.Name)
	}
	s.t.volumeTypes.Set(t.ID, t)
	s.t.typeByName.Set(t.Name, t.ID)
}

// retype gives a volume another type. Its bytes stay where and as they are, so the two must be of one kind.
func (s *State) retype(v *Volume, name string) *Error {
	t, ok := s.t.volumeType(name)
	switch {
	case !ok:
		return missingType(name)
	case v.Status != VolumeAvailable && v.Status != VolumeInUse:
		return invalidVolume("Volume %s status must be available or in-use to retype, it is %s.", v.ID, v.Status)
	case t.Shared() != v.Shared(), t.Encrypted() || v.Traits.Encrypted:
		return invalidVolume("Retype needs volume migration but migration policy is set to never: the bytes of volume %s would have to be "+
			"moved or encrypted anew.", v.ID)
	case t.Multiattach() != v.Traits.Multiattach && v.Status != VolumeAvailable:
		return invalidVolume("Volume %s must be available to change whether several servers may have it.", v.ID)
	case t.Trouble() != "":
		return Errorf(Invalid, "%s", t.Trouble())
	}
	v.Type, v.Traits.Multiattach = t.reference(), t.Multiattach()
	return nil
}
