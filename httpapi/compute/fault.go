package compute

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

func bad(format string, args ...any) error { return cluster.Errorf(cluster.Invalid, format, args...) }
func notFound(format string, args ...any) error {
	return cluster.Errorf(cluster.NotFound, format, args...)
}
func conflict(format string, args ...any) error {
	return cluster.Errorf(cluster.Conflict, format, args...)
}

// unsupported is what Kilonova does not do.
func unsupported(what string) error {
	return &rest.HTTPError{Status: http.StatusNotImplemented, Code: cluster.Invalid,
		Message: "The requested functionality is not supported: " + what + "."}
}

func noInstance(id string) error { return notFound("Instance %s could not be found.", id) }
