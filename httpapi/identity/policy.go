package identity

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// forbid is Keystone's refusal of an action, for instance "create_project".
func forbid(action string) error {
	return cluster.Errorf(cluster.Forbidden, "You are not authorized to perform the requested action: identity:%s.", action)
}

// mayRead lets administrators, and readers of the whole system, look at everything.
func mayRead(c *rest.Caller) bool { return c.Admin() || c.System && c.Has(cluster.RoleReader) }

// requireRead refuses an action to callers who may not look at everything.
func requireRead(r *http.Request, action string) error {
	if mayRead(rest.CallerFrom(r.Context())) {
		return nil
	}
	return forbid(action)
}

// requireAdmin refuses an action to callers who are not administrators.
func requireAdmin(r *http.Request, action string) error {
	if rest.CallerFrom(r.Context()).Admin() {
		return nil
	}
	return forbid(action)
}

// requireSelfOrRead lets users look at what is their own.
func requireSelfOrRead(r *http.Request, u cluster.UserID, action string) error {
	if rest.CallerFrom(r.Context()).User.ID == u {
		return nil
	}
	return requireRead(r, action)
}

// requireSelfOrAdmin lets users change what is their own.
func requireSelfOrAdmin(r *http.Request, u cluster.UserID, action string) error {
	if rest.CallerFrom(r.Context()).User.ID == u {
		return nil
	}
	return requireAdmin(r, action)
}

// missing is Keystone's 404.
func missing(kind, id string) error {
	return cluster.Errorf(cluster.NotFound, "Could not find %s: %s.", kind, id)
}
