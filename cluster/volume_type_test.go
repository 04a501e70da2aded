package cluster

import "testing"

func volumeType(id, name string, specs map[string]string) *PutVolumeType {
	return &PutVolumeType{Type: VolumeType{ID: id, Name: name, Specs: specs}}
}

// again is a change of a type as it is now.
func (w *town) again(id string, change func(*VolumeType)) *PutVolumeType {
	w.t.Helper()
	t, ok := w.s.View().VolumeType(id)
	if !ok {
		w.t.Fatalf("no type %s", id)
	}
	c := t.Clone()
	change(c)
	return &PutVolumeType{Type: *c}
}

// An administrator makes a type, a volume gets it and keeps it when the type is renamed, and the type goes when nothing is of it any more.
func TestPutVolumeType_FromMadeToDeleted(t *testing.T) {
	w := newTown(t)
	w.do(volumeType("t1", "gold", map[string]string{SpecBackend: BackendShared, SpecMultiattach: SpecTrue}))
	o := someVolume("v")
	o.Volume.Type = "gold"
	w.do(o)
	v := w.volume("v")
	if !v.Shared() || !v.Traits.Multiattach || v.Type != "t1" || w.s.View().VolumeTypeName(v.Type) != "gold" {
		t.Errorf("the volume is %+v", v)
	}
	w.do(w.again("t1", func(t *VolumeType) { t.Name, t.Description = "silver", "not so bright" }))
	if name := w.s.View().VolumeTypeName(w.volume("v").Type); name != "silver" {
		t.Errorf("its type is called %s", name)
	}
	if _, ok := w.s.View().VolumeType("gold"); ok {
		t.Error("the old name is a type, too")
	}
	w.refuse(w.again("t1", func(t *VolumeType) { t.Specs = nil }), Invalid, "currently in use")
	w.refuse(w.again("t1", func(t *VolumeType) { t.Encryption = &TypeEncryption{ID: "e", Provider: "luks", Location: FrontEnd} }), Invalid, "currently in use")
	w.refuse(&DeleteVolumeType{ID: "t1"}, Invalid, "not allowed with volumes present")
	w.do(&DeleteVolume{ID: "v"})
	w.do(w.again("t1", func(t *VolumeType) { t.Specs = nil }))
	w.do(&DeleteVolumeType{ID: "t1"})
	w.refuse(&DeleteVolumeType{ID: "t1"}, NotFound, "Volume type t1")
}

func TestPutVolumeType_BadInputIsRefused(t *testing.T) {
	w := newTown(t)
	w.do(volumeType("t1", "gold", nil))
	w.refuse(volumeType("t1", "gold", nil), Conflict, "exists already")
	w.refuse(volumeType("t2", "gold", nil), Conflict, "Volume Type gold already exists.")
	w.refuse(volumeType("t2", DefaultVolumeType, nil), Conflict, "already exists")
	w.refuse(volumeType("t2", "", nil), Invalid, "name")
	w.refuse(volumeType("", "x", nil), Invalid, "ID")
	w.refuse(&PutVolumeType{Type: VolumeType{ID: "t2", Name: "x", Private: true, Projects: []ProjectID{"none"}}}, NotFound, "none")
	w.refuse(&PutVolumeType{Type: VolumeType{ID: "t2", Name: "x", Projects: []ProjectID{home, home}}}, Invalid, "sorted and differ")
	w.refuse(&PutVolumeType{Type: VolumeType{ID: "t2", Name: "x", Encryption: &TypeEncryption{ID: "e", Provider: "luks", Location: "moon"}}}, Invalid, "moon")
	shared, _ := w.s.View().VolumeType("shared")
	w.refuse(&PutVolumeType{Type: *shared}, Invalid, "built in")
	w.refuse(&DeleteVolumeType{ID: "shared"}, Invalid, "built in")
	for _, bad := range []*PutVolumeType{
		volumeType("t3", "fast", map[string]string{SpecProtocol: "iSCSI"}), volumeType("t4", "far", map[string]string{SpecBackend: "moon"}),
		{Type: VolumeType{ID: "t5", Name: "odd", Encryption: &TypeEncryption{ID: "e", Provider: "plain", Location: FrontEnd}}},
	} {
		w.do(bad)
		o := someVolume("v")
		o.Volume.Type = bad.Type.Name
		if bad.Type.Encryption != nil {
			o.Volume.Secret = []byte("s")
		}
		w.refuse(o, Invalid, map[bool]string{true: "LUKS", false: "No valid backend"}[bad.Type.Encryption != nil])
	}
}

// A volume gets another type of the same kind. One whose bytes would have to move, or be encrypted, keeps its own.
func TestUpdateVolume_RetypeWithinAKind(t *testing.T) {
	w := newTown(t)
	w.do(volumeType("t1", "gold", nil))
	w.do(someVolume("v"))
	w.do(&UpdateVolume{ID: "v", Type: "gold"})
	if v := w.volume("v"); v.Type != "t1" {
		t.Errorf("its type is %s", v.Type)
	}
	w.do(&UpdateVolume{ID: "v", Type: "local-multiattach"})
	if v := w.volume("v"); !v.Traits.Multiattach {
		t.Error("not for several")
	}
	for _, other := range []string{"shared", "local-encrypted"} {
		w.refuse(&UpdateVolume{ID: "v", Type: other}, Invalid, "would have to be moved or encrypted anew")
	}
	w.refuse(&UpdateVolume{ID: "v", Type: "none"}, NotFound, "Volume type none")
	w.active("a")
	w.do(attach("v", "a"))
	w.refuse(&UpdateVolume{ID: "v", Type: "gold"}, Invalid, "status must be available or in-use")
}
