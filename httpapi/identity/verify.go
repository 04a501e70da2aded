package identity

import (
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Verify tells whose token it is, and what its holder may do by the present state. Code Unauthorized when it is forged,
// expired or void.
func (t *Tokens) Verify(view *cluster.View, token string, now time.Time) (*rest.Caller, error) {
	c, err := t.read(view, token)
	if err != nil {
		return nil, err
	}
	h, err := hold(view, c, cluster.At(now))
	if err != nil {
		return nil, err
	}
	return &rest.Caller{User: h.user, Project: h.project, System: c.System, Roles: h.effective, TokenID: c.id()}, nil
}

// holding is what a token's claims amount to in a view.
type holding struct {
	user      *cluster.User
	project   *cluster.Project // nil: not scoped to one
	cred      *cluster.Credential
	shown     []*cluster.Role // as the API lists them
	effective []*cluster.Role // with all that they imply
}

// hold decides whether claims still hold, and what they give.
func hold(view *cluster.View, c *claims, now cluster.Time) (*holding, error) {
	if now >= c.Expires {
		return nil, refuse("token expired")
	}
	if slices.ContainsFunc(c.Audit, view.Revoked) {
		return nil, refuse("token was revoked")
	}
	h := &holding{}
	var ok bool
	if h.user, ok = view.User(c.User); !ok || h.user.Disabled {
		return nil, refuse("user is gone or disabled")
	}
	if h.user.PasswordSet > c.Issued || h.user.TokensSince > c.Issued {
		return nil, refuse("user has a new password, or was disabled, since")
	}
	if c.Cred != "" {
		if h.cred, ok = view.Credential(c.Cred); !ok || h.cred.User != c.User || h.cred.Project != c.Project {
			return nil, refuse("application credential is gone")
		}
		if h.cred.Expires != 0 && now >= h.cred.Expires {
			return nil, refuse("application credential expired")
		}
	}
	if c.Project == "" && !c.System {
		return h, nil
	}
	if c.Project != "" {
		if h.project, ok = view.Project(c.Project); !ok || h.project.Disabled {
			return nil, refuse("project is gone or disabled")
		}
	}
	h.effective = expand(view, assigned(view, c.User, c.Project))
	h.shown = h.effective
	if h.cred != nil {
		h.shown = slices.DeleteFunc(slices.Clone(h.effective), func(r *cluster.Role) bool { return !slices.Contains(h.cred.Roles, r.ID) })
		h.effective = expand(view, h.shown)
	}
	if len(h.effective) == 0 {
		return nil, refuse("user has no role there")
	}
	return h, nil
}

// assigned gives the roles that were given to a user in a project, or, with no project, in the system.
func assigned(view *cluster.View, u cluster.UserID, p cluster.ProjectID) []*cluster.Role {
	var roles []*cluster.Role
	for a := range view.AssignmentsOf(u) {
		if r, ok := view.Role(a.Role); ok && a.Project == p {
			roles = append(roles, r)
		}
	}
	return roles
}

// implied is what a role brings with it.
var implied = map[string]string{cluster.RoleAdmin: cluster.RoleMember, cluster.RoleMember: cluster.RoleReader}

// expand adds the roles that roles imply: the built-in ones first, the strongest in front.
func expand(view *cluster.View, roles []*cluster.Role) []*cluster.Role {
	var all []*cluster.Role
	held := func(name string) bool {
		return slices.ContainsFunc(roles, func(r *cluster.Role) bool { return r.Name == name && r.BuiltIn })
	}
	strong := false
	for name := cluster.RoleAdmin; name != ""; name = implied[name] {
		strong = strong || held(name)
		if r, ok := view.RoleNamed(name); ok && strong {
			all = append(all, r)
		}
	}
	for _, r := range roles {
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}
