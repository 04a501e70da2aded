package cluster

import (
	"maps"
	"slices"
)

// VolumeType is a kind of volume that a user can ask for. Those that follow from what nodes can do are built in; administrators make
// others, to give a kind a name and a description of their own, or to keep it to some projects.
type VolumeType struct {
	ID          string            `json:"id"` // a UUID
	Revision    uint64            `json:"revision"`
	Name        string            `json:"name"` // differs from all others
	Description string            `json:"description,omitempty"`
	Private     bool              `json:"private,omitempty"`    // only for Projects
	Projects    []ProjectID       `json:"projects,omitempty"`   // that may use a private one
	Specs       map[string]string `json:"specs,omitempty"`      // Cinder's extra specs: see the Spec constants
	Encryption  *TypeEncryption   `json:"encryption,omitempty"` // nil: none
	Created     Time              `json:"created"`
	Updated     Time              `json:"updated"`
}

// TypeEncryption is how volumes of a type are encrypted, as Cinder describes it.
type TypeEncryption struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Cipher   string `json:"cipher,omitempty"`
	KeyBits  int64  `json:"key_bits,omitempty"` // 0: not said
	Location string `json:"location"`           // front-end or back-end
}

// The extra specs that decide where volumes are. Others are kept, and nobody looks at them, except that one that asks for another storage
// than there is matches nothing, as with Cinder's capabilities filter.
const (
	SpecBackend     = "volume_backend_name" // BackendLocal or BackendShared
	SpecMultiattach = "multiattach"         // SpecTrue: several instances may have such a volume at once
	SpecProtocol    = "storage_protocol"    // StorageProtocol
	SpecVendor      = "vendor_name"         // StorageVendor

	SpecTrue        = "<is> True"
	BackendLocal    = "local"  // a file on one node
	BackendShared   = "shared" // a file in the directory that nodes share
	StorageProtocol = "file"
	StorageVendor   = "Kilonova"
)

// DefaultVolumeType is the type of a volume that names none.
const DefaultVolumeType = "local"

// TraitSharedVolumes is the trait of nodes that have the directory for shared volumes.
const TraitSharedVolumes = "CUSTOM_KILONOVA_SHARED_VOLUMES"

// Shared tells whether volumes of the type are in the directory that nodes share.
func (t *VolumeType) Shared() bool { return t.Specs[SpecBackend] == BackendShared }

// Encrypted tells whether volumes of the type are encrypted, with LUKS.
func (t *VolumeType) Encrypted() bool { return t.Encryption != nil }

// Multiattach tells whether several instances may have a volume of the type at once.
func (t *VolumeType) Multiattach() bool { return t.Specs[SpecMultiattach] == SpecTrue }

// BuiltIn tells whether the type follows from what nodes can do, so that nobody changes it.
func (t *VolumeType) BuiltIn() bool {
	return slices.ContainsFunc(builtInTypes, func(b VolumeType) bool { return b.ID == t.ID })
}

// OpenTo tells whether a project may use the type.
func (t *VolumeType) OpenTo(p ProjectID) bool { return !t.Private || slices.Contains(t.Projects, p) }

// Clone returns a copy that may be changed. Encryption is shared: replace it, never write into it.
func (t *VolumeType) Clone() *VolumeType {
	c := *t
	c.Projects, c.Specs = slices.Clone(t.Projects), maps.Clone(t.Specs)
	return &c
}

// Trouble tells why no volume of the type can be made; "": it can.
func (t *VolumeType) Trouble() string {
	for _, s := range capabilities {
		if value, asked := t.Specs[s.key]; asked && !slices.Contains(s.fits, value) {
			return "No valid backend was found: no storage has the " + s.key + " that the volume type asks for."
		}
	}
	e := t.Encryption
	switch {
	case e == nil:
	case !slices.Contains(luksProviders, e.Provider), e.Cipher != "" && e.Cipher != LUKSCipher, e.KeyBits != 0 && e.KeyBits != LUKSKeyBits:
		return "Volumes are encrypted with LUKS 1, " + LUKSCipher + " and 256 bits, and the type asks for something else."
	}
	return ""
}

// capabilities are the extra specs that storage has or has not, and their values here.
var capabilities = []struct {
	key  string
	fits []string
}{{SpecBackend, []string{BackendLocal, BackendShared}}, {SpecProtocol, []string{StorageProtocol}}, {SpecVendor, []string{StorageVendor}}}

// How volumes are encrypted, and what clients call it.
const (
	LUKSProvider = "luks"
	LUKSCipher   = "aes-xts-plain64"
	LUKSKeyBits  = 256
	FrontEnd     = "front-end"
)

var luksProviders = []string{LUKSProvider, "LuksEncryptor", "nova.volume.encryptors.luks.LuksEncryptor", "os_brick.encryptors.luks.LuksEncryptor"}

// builtIn makes a type that follows from what nodes can do. Its ID is fixed, so that clients may keep it.
func builtIn(number, name, about string, shared, encrypted, many bool) VolumeType {
	t := VolumeType{ID: "6b9c9d0c-53a7-4f0e-8d1f-0a5b3e6f1a" + number, Name: name, Description: about, Specs: map[string]string{}}
	if shared {
		t.Specs[SpecBackend] = BackendShared
	}
	if many {
		t.Specs[SpecMultiattach] = SpecTrue
	}
	if encrypted {
		t.Encryption = &TypeEncryption{ID: t.ID, Provider: LUKSProvider, Cipher: LUKSCipher, KeyBits: LUKSKeyBits, Location: FrontEnd}
	}
	return t
}

var builtInTypes = []VolumeType{
	builtIn("01", DefaultVolumeType, "A file on one node", false, false, false),
	builtIn("02", "local-encrypted", "A LUKS-encrypted file on one node", false, true, false),
	builtIn("03", "local-multiattach", "A file on one node, for several servers there", false, false, true),
	builtIn("04", "shared", "A file in the directory that nodes share", true, false, false),
	builtIn("05", "shared-encrypted", "A LUKS-encrypted file in the directory that nodes share", true, true, false),
	builtIn("06", "shared-multiattach", "A file in the directory that nodes share, for several servers", true, false, true),
}

// VolumeTypes yields the types that there are: those that are built in, and then those of administrators by ID.
func (v *View) VolumeTypes() []*VolumeType {
	var all []*VolumeType
	for i := range builtInTypes {
		all = append(all, &builtInTypes[i])
	}
	for t := range values(&v.t.volumeTypes) {
		all = append(all, t)
	}
	return all
}

// VolumeType finds a type by its name or its ID.
func (v *View) VolumeType(name string) (*VolumeType, bool) { return v.t.volumeType(name) }

// VolumeTypeName is what the type of a volume or snapshot, as its record has it, is called at the moment.
func (v *View) VolumeTypeName(ref string) string {
	if t, ok := v.t.volumeType(ref); ok {
		return t.Name
	}
	return ref
}

func (t *tables) volumeType(name string) (*VolumeType, bool) {
	for i := range builtInTypes {
		if b := &builtInTypes[i]; b.Name == name || b.ID == name {
			return b, true
		}
	}
	if found, ok := t.volumeTypes.Get(name); ok {
		return found, true
	}
	if id, ok := t.typeByName.Get(name); ok {
		return t.volumeTypes.Get(id)
	}
	return nil, false
}

// reference is what records keep of a type: the name of one that is built in, and the ID of another, whose name may change.
func (t *VolumeType) reference() string {
	if t.BuiltIn() {
		return t.Name
	}
	return t.ID
}

func sharedType(name string) bool {
	return slices.ContainsFunc(builtInTypes, func(t VolumeType) bool { return t.Name == name && t.Shared() })
}
