package cluster

// The Put ops carry a whole record. Its Revision says what it was decided against: 0 makes a new one, and is
// refused with Conflict when the ID or a name that must be unique is taken; any other must be the revision of
// the record in the state, or the op is refused with Stale. The state sets the new revision. Deleting what is
// not there is NotFound.

// PutProject makes or replaces a project.
type PutProject struct {
	Project Project `json:"project"`
}

// DeleteProject removes a project with its assignments, credentials and quota. Refused with Conflict while it
// owns instances, ports, subnets, networks or images.
type DeleteProject struct {
	ID ProjectID `json:"id"`
}

// PutUser makes or replaces a user.
type PutUser struct {
	User User `json:"user"`
}

// DeleteUser removes a user with its assignments, credentials and key pairs. The last enabled user who is admin is
// not removed, nor disabled by PutUser, nor does DeleteAssignment or DeleteProject take the role away (Conflict).
type DeleteUser struct {
	ID UserID `json:"id"`
}

// PutRole makes or replaces a role.
type PutRole struct {
	Role Role `json:"role"`
}

// DeleteRole removes a role and its assignments. Built-in roles stay (Forbidden).
type DeleteRole struct {
	ID RoleID `json:"id"`
}

// PutAssignment gives a role. Giving it twice is the same as once.
type PutAssignment struct {
	Assignment Assignment `json:"assignment"`
}

// DeleteAssignment takes a role away, and with it the user's application credentials in that project, as Keystone
// does. NotFound when it was not given.
type DeleteAssignment struct {
	Assignment Assignment `json:"assignment"`
}

// PutCredential makes an application credential. Forbidden when its user has no role in its project.
type PutCredential struct {
	Credential Credential `json:"credential"`
}

// DeleteCredential removes an application credential; its tokens are void from then on.
type DeleteCredential struct {
	ID CredentialID `json:"id"`
}

// RevokeToken makes a token void. Revoking twice is the same as once.
type RevokeToken struct {
	Revocation Revocation `json:"revocation"`
}

// Kind of each op.
func (*PutProject) Kind() Kind       { return KindPutProject }
func (*DeleteProject) Kind() Kind    { return KindDeleteProject }
func (*PutUser) Kind() Kind          { return KindPutUser }
func (*DeleteUser) Kind() Kind       { return KindDeleteUser }
func (*PutRole) Kind() Kind          { return KindPutRole }
func (*DeleteRole) Kind() Kind       { return KindDeleteRole }
func (*PutAssignment) Kind() Kind    { return KindPutAssignment }
func (*DeleteAssignment) Kind() Kind { return KindDeleteAssignment }
func (*PutCredential) Kind() Kind    { return KindPutCredential }
func (*DeleteCredential) Kind() Kind { return KindDeleteCredential }
func (*RevokeToken) Kind() Kind      { return KindRevokeToken }
