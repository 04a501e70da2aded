package network

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// item is one thing of a list: what it looks like to clients, and the values that filters and sort keys look at.
type item struct {
	id     string
	body   any
	values map[string][]string
	tags   []string
}

// one is the values of an attribute that has one.
func one(s string) []string { return []string{s} }

func flag(b bool) []string { return []string{strconv.FormatBool(b)} }

// notFilters are the query parameters that choose a part of a list.
var notFilters = []string{"limit", "marker", "page_reverse", "sort_key", "sort_dir", "fields"}

// list replies with the items that the query asks for. Attributes that are no filters are ignored, as Neutron does.
func list(r *http.Request, name string, items []item) (any, error) {
	q := r.URL.Query()
	items = slices.DeleteFunc(items, func(i item) bool {
		if !tagged(i, q) {
			return true
		}
		for key, wanted := range q {
			have, known := i.values[key]
			if slices.Contains(notFilters, key) || !known {
				continue
			}
			if !slices.ContainsFunc(wanted, func(w string) bool { return matches(key, have, w) }) {
				return true
			}
		}
		return false
	})
	items, links, err := page(r, name, items)
	if err != nil {
		return nil, err
	}
	bodies := make([]any, 0, len(items))
	for _, i := range items {
		b, err := pick(i.body, q["fields"])
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, b)
	}
	out := map[string]any{name: bodies}
	if links != nil {
		out[name+"_links"] = links
	}
	return out, nil
}

// matches compares a filter's value with an attribute's. Booleans come in the spellings of Python, too.
func matches(key string, have []string, want string) bool {
	if slices.Contains(have, want) {
		return true
	}
	if len(have) == 1 && (have[0] == "true" || have[0] == "false") {
		switch strings.ToLower(want) {
		case "true", "1":
			return have[0] == "true"
		case "false", "0":
			return have[0] == "false"
		}
	}
	if key != "fixed_ips" {
		return false
	}
	for _, h := range have { // fixed_ips=subnet_id=...,ip_address=... asks for one address that has all of it
		if !slices.ContainsFunc(strings.Split(want, ","), func(part string) bool {
			return !slices.Contains(strings.Split(h, ","), part)
		}) {
			return true
		}
	}
	return false
}

// page sorts by ID or as asked, and cuts.
func page(r *http.Request, name string, items []item) ([]item, []rest.Link, error) {
	q := r.URL.Query()
	keys, dirs := q["sort_key"], q["sort_dir"]
	slices.SortStableFunc(items, func(a, b item) int {
		for i, key := range keys {
			c := cmp.Compare(strings.Join(a.values[key], ","), strings.Join(b.values[key], ","))
			if i < len(dirs) && dirs[i] == "desc" {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return cmp.Compare(a.id, b.id)
	})
	p := rest.Page{Limit: len(items), Marker: q.Get("marker")}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, nil, cluster.Errorf(cluster.Invalid, "Bad limit: limit must be an integer 0 or greater and not '%s'", text)
		}
		if n > 0 {
			p.Limit = int(n)
		}
	}
	items, more, err := rest.Cut(items, p, func(i item) string { return i.id })
	if err != nil || !more || len(items) == 0 {
		return items, nil, err
	}
	return items, rest.NextLinks(r, items[len(items)-1].id), nil
}

// pick leaves only the fields that the query names; all when it names none.
func pick(body any, fields []string) (any, error) {
	if len(fields) == 0 {
		return body, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	some := map[string]json.RawMessage{}
	for _, f := range fields {
		if v, ok := all[f]; ok {
			some[f] = v
		}
	}
	return some, nil
}

// show replies with one thing.
func show(r *http.Request, name string, i item) (any, error) {
	b, err := pick(i.body, r.URL.Query()["fields"])
	if err != nil {
		return nil, err
	}
	return map[string]any{name: b}, nil
}
