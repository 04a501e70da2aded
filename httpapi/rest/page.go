package rest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// MaxPage is how many items a page has at most, and when the client does not say: Nova's max_limit.
const MaxPage = 1000

// Page is which part of a list a client wants.
type Page struct {
	Limit  int    // at most so many items; MaxPage when not said. 0 was asked for: services differ in what that means
	Marker string // begin behind the item of that ID; "" begins at the first
	Sort   []Sort // by these keys in turn; empty: the service's own order
}

// Sort is one key of an order.
type Sort struct {
	Key        string
	Descending bool
}

// ParsePage reads limit, marker, sort_key with sort_dir, and sort=key:dir,... from the query. keys are the sort keys that the
// list knows; with none given, any key is Invalid. descending is the direction of a key that comes without one.
func ParsePage(r *http.Request, descending bool, keys ...string) (Page, error) {
	q := r.URL.Query()
	p := Page{Limit: MaxPage, Marker: q.Get("marker")}
	if s := q.Get("limit"); q.Has("limit") && s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return p, cluster.Errorf(cluster.Invalid, "Invalid input for query parameters limit. Value: %s. '%s' does not match '^[0-9]*$'", s, s)
		}
		p.Limit = min(int(n), MaxPage)
	}
	sortKeys, sortDirs := q["sort_key"], q["sort_dir"]
	if sort := q.Get("sort"); sort != "" && len(sortKeys) == 0 {
		sortDirs = nil
		for _, part := range strings.Split(sort, ",") {
			key, dir, _ := strings.Cut(part, ":")
			sortKeys, sortDirs = append(sortKeys, key), append(sortDirs, dir)
		}
	}
	for i, key := range sortKeys {
		s := Sort{Key: key, Descending: descending}
		if !slices.Contains(keys, key) {
			return p, cluster.Errorf(cluster.Invalid, "Invalid input for query parameters sort_key. Value: %s. '%s' is not one of [%s]",
				key, key, quoted(keys))
		}
		if i < len(sortDirs) {
			switch sortDirs[i] {
			case "":
			case "asc":
				s.Descending = false
			case "desc":
				s.Descending = true
			default:
				return p, cluster.Errorf(cluster.Invalid, "Invalid input for query parameters sort_dir. Value: %s. '%s' is not one of ['asc', 'desc']",
					sortDirs[i], sortDirs[i])
			}
		}
		p.Sort = append(p.Sort, s)
	}
	return p, nil
}

// Cut gives the items of the page and whether more come behind it. id tells an item's ID. A marker that is not in the list is
// Invalid.
func Cut[T any](items []T, p Page, id func(T) string) (page []T, more bool, err error) {
	if p.Marker != "" {
		i := slices.IndexFunc(items, func(x T) bool { return id(x) == p.Marker })
		if i < 0 {
			return nil, false, cluster.Errorf(cluster.Invalid, "marker [%s] not found", p.Marker)
		}
		items = items[i+1:]
	}
	if len(items) > p.Limit {
		return items[:p.Limit], true, nil
	}
	return items, false, nil
}

func quoted(list []string) string {
	var b strings.Builder
	for i, s := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("'" + s + "'")
	}
	return b.String()
}
