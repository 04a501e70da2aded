package compute

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// version is the minor part of a microversion of the compute API; the major part is always 2.
type version int

// The microversions that are served.
const (
	oldest version = 1
	newest version = 96
)

// String gives the microversion as clients write it.
func (v version) String() string { return "2." + strconv.Itoa(int(v)) }

// The headers that ask for a microversion, and say which one was used.
const (
	versionHeader       = "OpenStack-API-Version"
	legacyVersionHeader = "X-OpenStack-Nova-API-Version"
	serviceType         = "compute"
)

var versionFormat = regexp.MustCompile(`^([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$`)

// negotiate chooses the microversion of a request and says so in the response. Errors about a version that is well
// formed, but not served, also say it.
func negotiate(w http.ResponseWriter, r *http.Request) (version, error) {
	asked := requestedVersion(r)
	v, err := parseVersion(asked)
	switch {
	case err != nil && rest.StatusOf(cluster.CodeOf(err)) == http.StatusBadRequest:
		return 0, err
	case err != nil:
		sayVersion(w, asked)
		return 0, err
	}
	sayVersion(w, v.String())
	return v, nil
}

func sayVersion(w http.ResponseWriter, v string) {
	w.Header().Set(versionHeader, serviceType+" "+v)
	w.Header().Set(legacyVersionHeader, v)
	w.Header().Set("Vary", versionHeader+", "+legacyVersionHeader)
}

// requestedVersion finds what the client asked of the compute service; "" when nothing.
func requestedVersion(r *http.Request) string {
	for _, line := range r.Header.Values(versionHeader) {
		for _, part := range strings.Split(line, ",") {
			name, v, ok := strings.Cut(strings.TrimSpace(part), " ")
			if ok && strings.EqualFold(name, serviceType) {
				return strings.TrimSpace(v)
			}
		}
	}
	return strings.TrimSpace(r.Header.Get(legacyVersionHeader))
}

// parseVersion reads what a client asked for. A text that is no version is Invalid; a version that is not served is 406.
func parseVersion(asked string) (version, error) {
	switch asked {
	case "":
		return oldest, nil
	case "latest":
		return newest, nil
	}
	m := versionFormat.FindStringSubmatch(asked)
	if m == nil {
		if len(asked) > maxEcho {
			asked = asked[:maxEcho]
		}
		return 0, bad("API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", asked)
	}
	minor, err := strconv.Atoi(m[2])
	if err != nil || m[1] != "2" || version(minor) < oldest || version(minor) > newest {
		return 0, &rest.HTTPError{Status: http.StatusNotAcceptable, Message: "Version " + asked +
			" is not supported by the API. Minimum is " + oldest.String() + " and maximum is " + newest.String() + "."}
	}
	return version(minor), nil
}

// maxEcho is how much of a bad version is repeated to whoever sent it.
const maxEcho = 64

// When the versions were last changed, as Nova says it.
const (
	updatedV20 = "2011-01-21T11:33:21Z"
	updatedV21 = "2013-07-23T11:33:21Z"
)

// listVersions is GET /: which versions of the API there are.
func (s *service) listVersions(w http.ResponseWriter, r *http.Request) {
	var j writer
	j.open('{').key("versions").open('[')
	for _, legacy := range []bool{true, false} {
		j.open('{')
		writeVersion(&j, legacy)
		j.key("links").open('[')
		writeLink(&j, "self", versionURL(rest.BaseURL(r), legacy)+"/")
		j.close(']').close('}')
	}
	j.close(']').close('}')
	reply(w, http.StatusOK, &j)
}

// showVersion is GET /v2.1 and GET /v2: one version of the API. No token is needed.
func (s *service) showVersion(w http.ResponseWriter, r *http.Request, legacy bool) {
	if !legacy {
		if _, err := negotiate(w, r); err != nil {
			rest.NovaErrors.Fail(w, r, err)
			return
		}
	}
	var j writer
	j.open('{').key("version").open('{')
	writeVersion(&j, legacy)
	j.key("links").open('[')
	writeLink(&j, "self", versionURL(rest.BaseURL(r), legacy)+"/")
	j.open('{').field("rel", "describedby").field("type", "text/html").field("href", "http://docs.openstack.org/").close('}')
	j.close(']').key("media-types").open('[').open('{').field("base", "application/json")
	media := "application/vnd.openstack.compute+json;version=2.1"
	if legacy {
		media = "application/vnd.openstack.compute+json;version=2"
	}
	j.field("type", media).close('}').close(']').close('}').close('}')
	reply(w, http.StatusOK, &j)
}

func writeVersion(j *writer, legacy bool) {
	if legacy {
		j.field("id", "v2.0").field("status", "SUPPORTED").field("version", "").field("min_version", "").field("updated", updatedV20)
		return
	}
	j.field("id", "v2.1").field("status", "CURRENT").field("version", newest.String()).field("min_version", oldest.String())
	j.field("updated", updatedV21)
}

// versionURL is where a version of the API is, without a final slash.
func versionURL(base string, legacy bool) string {
	if legacy {
		return base + Path + "/v2"
	}
	return base + Path + "/v2.1"
}
