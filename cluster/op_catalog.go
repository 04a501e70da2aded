package cluster

// PutImage makes or replaces an image's record (see the note on Put ops in op_identity.go).
type PutImage struct {
	Image Image `json:"image"`
}

// DeleteImage removes an image. Refused with Forbidden while it is protected, with Conflict while an instance is
// still being built from it.
type DeleteImage struct {
	ID ImageID `json:"id"`
}

// AddImageNode records that a node holds every chunk of the blob Root, or, with Gone, that it no longer does.
type AddImageNode struct {
	ID   ImageID `json:"id"`
	Root Hash    `json:"root"`
	Node NodeID  `json:"node"`
	Gone bool    `json:"gone,omitempty"`
}

// PutFlavor makes or replaces a flavor. Its ID and its name are unique.
type PutFlavor struct {
	Flavor Flavor `json:"flavor"`
}

// DeleteFlavor removes a flavor. Instances keep their copy.
type DeleteFlavor struct {
	ID FlavorID `json:"id"`
}

// CreateKeyPair adds a key pair. Conflict when the user has one of that name, OverQuota past the user's limit, which is
// that of Project.
type CreateKeyPair struct {
	KeyPair KeyPair   `json:"key_pair"`
	Project ProjectID `json:"project"`
}

// DeleteKeyPair removes a key pair.
type DeleteKeyPair struct {
	User UserID `json:"user"`
	Name string `json:"name"`
}

// PutQuota sets limits of a project, or of a user in it.
type PutQuota struct {
	Quota Quota `json:"quota"`
}

// DeleteQuota sets a project's limits back to the defaults, and those of its users; or, with User, those of one user to the
// project's. Not an error when nothing was set.
type DeleteQuota struct {
	Project ProjectID `json:"project"`
	User    UserID    `json:"user,omitempty"`
}

// Kind of each op.
func (*PutImage) Kind() Kind      { return KindPutImage }
func (*DeleteImage) Kind() Kind   { return KindDeleteImage }
func (*AddImageNode) Kind() Kind  { return KindAddImageNode }
func (*PutFlavor) Kind() Kind     { return KindPutFlavor }
func (*DeleteFlavor) Kind() Kind  { return KindDeleteFlavor }
func (*CreateKeyPair) Kind() Kind { return KindCreateKeyPair }
func (*DeleteKeyPair) Kind() Kind { return KindDeleteKeyPair }
func (*PutQuota) Kind() Kind      { return KindPutQuota }
func (*DeleteQuota) Kind() Kind   { return KindDeleteQuota }
