package cluster

// VolumeType is a kind of volume that a user can ask for.
type VolumeType struct {
	ID          string // fixed, so that clients may keep it
	Name        string
	Description string
	Shared      bool // in the directory that nodes share, else a file on one node
	Encrypted   bool // LUKS
	Multiattach bool // several instances may have such a volume at once
}

// DefaultVolumeType is the type of a volume that names none.
const DefaultVolumeType = "local"

// TraitSharedVolumes is the trait of nodes that have the directory for shared volumes.
const TraitSharedVolumes = "CUSTOM_KILONOVA_SHARED_VOLUMES"

// VolumeTypes are the types that there are. They follow from what nodes can do, so nobody makes or changes them.
var VolumeTypes = []VolumeType{
	{ID: "6b9c9d0c-53a7-4f0e-8d1f-0a5b3e6f1a01", Name: DefaultVolumeType, Description: "A file on one node"},
	{ID: "6b9c9d0c-53a7-4f0e-8d1f-0a5b3e6f1a02", Name: "local-encrypted", Description: "A LUKS-encrypted file on one node", Encrypted: true},
	{ID: "6b9c9d0c-53a7-4f0e-8d1f-0a5b3e6f1a03", Name: "local-multiattach", Description: "A file on one node, for several servers there", Multiattach: true},
	{ID: "6b9c9d0c-53a7-4f0e-8d1f-0a5b3e6f1a04", Name: "shared", Description: "A file in the directory that nodes share", Shared: true},
	{ID: "6b9c9d0c-53a7-4f0e-8d1f-0a5b3e6f1a05", Name: "shared-encrypted", Description: "A LUKS-encrypted file in the directory that nodes share",
		Shared: true, Encrypted: true},
	{ID: "6b9c9d0c-53a7-4f0e-8d1f-0a5b3e6f1a06", Name: "shared-multiattach", Description: "A file in the directory that nodes share, for several servers",
		Shared: true, Multiattach: true},
}

// VolumeTypeNamed finds a volume type by its name or its ID.
func VolumeTypeNamed(name string) (*VolumeType, bool) {
	for i := range VolumeTypes {
		if t := &VolumeTypes[i]; t.Name == name || t.ID == name {
			return t, true
		}
	}
	return nil, false
}

func sharedType(name string) bool {
	t, ok := VolumeTypeNamed(name)
	return ok && t.Shared
}
