package rest

import (
	"context"
	"slices"

	"github.com/kilonova/kilonova/cluster"
)

// Caller is who sent a request, as its token says and the state confirms.
type Caller struct {
	User      *cluster.User
	Project   *cluster.Project // nil: the token is not scoped to a project
	System    bool             // the token is scoped to the system
	Roles     []*cluster.Role  // effective: admin implies member, member implies reader
	TokenID   cluster.TokenID
	RequestID string // req-..., as the response header says
}

// Has tells whether the caller holds a role, implied ones included.
func (c *Caller) Has(role string) bool {
	return slices.ContainsFunc(c.Roles, func(r *cluster.Role) bool { return r.Name == role })
}

// Admin tells whether the caller administers the cloud.
func (c *Caller) Admin() bool { return c.Has(cluster.RoleAdmin) }

// ProjectID is the project that the caller acts in; "" when the token has none.
func (c *Caller) ProjectID() cluster.ProjectID {
	if c.Project == nil {
		return ""
	}
	return c.Project.ID
}

// RequireReader refuses callers who may not read in their project.
func (c *Caller) RequireReader() error { return c.require(cluster.RoleReader) }

// RequireMember refuses callers who may not act in their project.
func (c *Caller) RequireMember() error { return c.require(cluster.RoleMember) }

// RequireAdmin refuses callers who are not administrators.
func (c *Caller) RequireAdmin() error { return c.require(cluster.RoleAdmin) }

func (c *Caller) require(role string) error {
	if c.Has(role) || c.Admin() {
		return nil
	}
	return cluster.Errorf(cluster.Forbidden, "You are not authorized to perform the requested action: it needs the role %s.", role)
}

// Sees tells whether the caller may know that something of a project exists. What it may not see is 404.
func (c *Caller) Sees(p cluster.ProjectID) bool { return c.Admin() || p != "" && p == c.ProjectID() }

type callerKey struct{}

// WithCaller returns a context that knows its caller.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns who sent the request. It panics in a handler that is not behind Authenticate, which is a
// fault of the routing table.
func CallerFrom(ctx context.Context) *Caller {
	c, ok := ctx.Value(callerKey{}).(*Caller)
	if !ok {
		panic("rest: handler is not behind Authenticate")
	}
	return c
}
