package compute

import (
	"cmp"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/httpapi/rest"
)

// checkQuery refuses query parameters that the path does not have, from the microversion on in which Nova does.
func (c *call) checkQuery(known ...string) error {
	if c.v < 75 {
		return nil
	}
	for name := range sorted(c.r.URL.Query()) {
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "_") {
			return bad("'%s' does not match any of the regexes: '^_'", name)
		}
	}
	return nil
}

// writeNext writes the list of links to the next page.
func (c *call) writeNext(j *writer, name, marker string) {
	j.key(name).open('[')
	writeLink(j, "next", rest.NextURL(c.r, marker))
	j.close(']')
}

// escape makes an ID fit for the path of a link.
func escape(id string) string { return url.PathEscape(id) }

// sorted yields a map in the order of its keys.
func sorted[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
