package volume

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/httpapi/rest"
)

// version is the minor part of a microversion; the major part is always 3.
type version int

// The microversions that are served.
const (
	oldest version = 0
	newest version = 70
)

// String gives the microversion as clients write it.
func (v version) String() string { return "3." + strconv.Itoa(int(v)) }

const versionHeader = "OpenStack-API-Version"

var versionFormat = regexp.MustCompile(`^([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$`)

// negotiate chooses the microversion of a request and says so in the response.
func negotiate(w http.ResponseWriter, r *http.Request) (version, error) {
	asked := ""
	for _, line := range r.Header.Values(versionHeader) {
		for _, part := range strings.Split(line, ",") {
			if name, v, ok := strings.Cut(strings.TrimSpace(part), " "); ok && strings.EqualFold(name, "volume") {
				asked = strings.TrimSpace(v)
			}
		}
	}
	w.Header().Set("Vary", versionHeader)
	w.Header().Set(rest.ComputeRequestIDHeader, rest.RequestIDOf(r))
	v := oldest
	switch asked {
	case "":
	case "latest":
		v = newest
	default:
		m := versionFormat.FindStringSubmatch(asked)
		if m == nil {
			return 0, bad("API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", clip(asked))
		}
		minor, err := strconv.Atoi(m[2])
		if err != nil || m[1] != "3" || version(minor) > newest {
			return 0, &rest.HTTPError{Status: http.StatusNotAcceptable, Message: "Version " + asked +
				" is not supported by the API. Minimum is " + oldest.String() + " and maximum is " + newest.String() + "."}
		}
		v = version(minor)
	}
	w.Header().Set(versionHeader, "volume "+v.String())
	return v, nil
}

const maxShown = 64

func clip(s string) string {
	if len(s) > maxShown {
		return s[:maxShown]
	}
	return s
}

// versions says which versions of the API there are.
func versions(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(versionHeader, "volume "+oldest.String())
		w.Header().Set("Vary", versionHeader)
		w.Header().Set(rest.ComputeRequestIDHeader, rest.RequestIDOf(r))
		rest.Reply(w, status, map[string]any{"versions": []any{map[string]any{
			"id": "v3.0", "status": "CURRENT", "version": newest.String(), "min_version": oldest.String(), "updated": "2022-08-31T00:00:00Z",
			"links": []any{
				map[string]string{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
				rest.Link{Rel: "self", Href: rest.BaseURL(r) + Path + "/v3/"},
			},
			"media-types": []any{map[string]string{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}},
		}}})
	}
}
