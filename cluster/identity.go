package cluster

// DefaultDomain is the only identity domain.
const (
	DefaultDomainID   = "default"
	DefaultDomainName = "Default"
)

// The names of the built-in roles. Admin implies member, member implies reader.
const (
	RoleAdmin  = "admin"
	RoleMember = "member"
	RoleReader = "reader"
)

// Project owns instances, images, networks and quotas. Keystone calls it a project too.
type Project struct {
	ID          ProjectID         `json:"id"`
	Revision    uint64            `json:"revision"`
	Name        string            `json:"name"` // unique
	Description string            `json:"description,omitempty"`
	Disabled    bool              `json:"disabled,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	Options     map[string]any    `json:"options,omitempty"`
	Extra       map[string]string `json:"extra,omitempty"` // further properties set by clients
}

// User can authenticate.
type User struct {
	ID             UserID            `json:"id"`
	Revision       uint64            `json:"revision"`
	Name           string            `json:"name"` // unique
	Description    string            `json:"description,omitempty"`
	Email          string            `json:"email,omitempty"`
	Disabled       bool              `json:"disabled,omitempty"`
	DefaultProject ProjectID         `json:"default_project,omitempty"`
	PasswordHash   string            `json:"password_hash,omitempty"` // PHC string; "": no password, cannot log in with one
	PasswordSet    Time              `json:"password_set,omitempty"`  // tokens issued before are void
	Extra          map[string]string `json:"extra,omitempty"`
	TokensSince    Time              `json:"tokens_since,omitempty"` // tokens issued before are void, also when a user is enabled again
}

// Role is a name for what its holder may do.
type Role struct {
	ID          RoleID `json:"id"`
	Revision    uint64 `json:"revision"`
	Name        string `json:"name"` // unique
	Description string `json:"description,omitempty"`
	BuiltIn     bool   `json:"built_in,omitempty"` // admin, member, reader: cannot be deleted
}

// Assignment gives a user a role in a project, or, with an empty project, in the whole system.
type Assignment struct {
	User    UserID    `json:"user"`
	Project ProjectID `json:"project,omitempty"`
	Role    RoleID    `json:"role"`
}

// Credential is an application credential: a secret with part of its user's roles in one project.
type Credential struct {
	ID           CredentialID `json:"id"`
	Revision     uint64       `json:"revision"`
	Name         string       `json:"name"` // unique for its user
	Description  string       `json:"description,omitempty"`
	User         UserID       `json:"user"`
	Project      ProjectID    `json:"project"`
	Roles        []RoleID     `json:"roles"`
	SecretHash   Hash         `json:"secret_hash"` // SHA-256; the secret is 64 random bytes, so a slow hash adds nothing
	Expires      Time         `json:"expires,omitempty"`
	Unrestricted bool         `json:"unrestricted,omitempty"`
	Created      Time         `json:"created"`
}

// Revocation makes tokens void before they expire.
type Revocation struct {
	Token   TokenID `json:"token"`   // audit ID, or the first audit ID of a chain
	Expires Time    `json:"expires"` // when the token would have expired; then the entry can go
}
