package identity

import (
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// maxList is how many items a list has at most; Keystone says "truncated" then, too.
const maxList = 10000

func itoa(n int) string { return strconv.Itoa(n) }

// links are those around a list.
type links struct {
	Next     *string `json:"next"`
	Self     string  `json:"self"`
	Previous *string `json:"previous"`
}

// selfURL is the address that was asked for.
func selfURL(r *http.Request) string {
	u := rest.BaseURL(r) + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		u += "?" + r.URL.RawQuery
	}
	return u
}

// replyList replies with a list under a name. Items are in the order of their IDs, which is that of the state.
func replyList[T any](w http.ResponseWriter, r *http.Request, name string, items []T, id func(T) string) error {
	l := links{Self: selfURL(r)}
	body := map[string]any{}
	if r.URL.Query().Has("limit") {
		p, err := rest.ParsePage(r, false)
		if err != nil {
			return err
		}
		page, more, err := rest.Cut(items, p, id)
		if err != nil {
			return err
		}
		if more && len(page) > 0 {
			next := rest.NextURL(r, id(page[len(page)-1]))
			l.Next = &next
		}
		items = page
	}
	if len(items) > maxList {
		items = items[:maxList]
		body["truncated"] = true
	}
	if items == nil {
		items = []T{}
	}
	body[name], body["links"] = items, l
	rest.Reply(w, http.StatusOK, body)
	return nil
}

// filter is what the query of a list asks for.
type filter struct{ q url.Values }

func filterOf(r *http.Request) filter { return filter{r.URL.Query()} }

// is tells whether a field has the value that was asked for; a query without the field asks for nothing.
func (f filter) is(field, value string) bool { return !f.q.Has(field) || f.q.Get(field) == value }

// named is is for names, with Keystone's inexact comparisons.
func (f filter) named(field, value string) bool {
	low := strings.ToLower(value)
	wanted := func(suffix string) (string, bool) {
		return strings.ToLower(f.q.Get(field + suffix)), f.q.Has(field + suffix)
	}
	if s, ok := wanted("__contains"); ok && !strings.Contains(low, s) {
		return false
	}
	if s, ok := wanted("__icontains"); ok && !strings.Contains(low, s) {
		return false
	}
	if s, ok := wanted("__startswith"); ok && !strings.HasPrefix(low, s) {
		return false
	}
	if s, ok := wanted("__endswith"); ok && !strings.HasSuffix(low, s) {
		return false
	}
	return f.is(field, value)
}

// flag is is for booleans: anything but 0 and false is true, as Keystone reads them.
func (f filter) flag(field string, value bool) bool {
	return !f.q.Has(field) || truth(f.q.Get(field)) == value
}

// truth reads a boolean of a query; a name without a value is true.
func truth(s string) bool { return s != "0" && !strings.EqualFold(s, "false") }

// asked tells whether a query switches something on.
func (f filter) asked(field string) bool { return f.q.Has(field) && truth(f.q.Get(field)) }

// made gives the ID of what a change made: the first attempt's when this was a repetition.
func made(res cluster.Result, proposed string) string {
	if len(res.IDs) > 0 {
		return res.IDs[0]
	}
	return proposed
}

// tagged tells whether tags are as a query asks: "tags" all of them, "tags-any" one of them, and the "not-" forms.
func tagged(f filter, tags []string) bool {
	has := func(t string) bool { return slices.Contains(tags, t) }
	lacks := func(t string) bool { return !has(t) }
	list := func(field string) []string { return strings.Split(f.q.Get(field), ",") }
	switch {
	case f.q.Has("tags") && slices.ContainsFunc(list("tags"), lacks),
		f.q.Has("tags-any") && !slices.ContainsFunc(list("tags-any"), has),
		f.q.Has("not-tags") && !slices.ContainsFunc(list("not-tags"), lacks),
		f.q.Has("not-tags-any") && slices.ContainsFunc(list("not-tags-any"), has):
		return false
	}
	return true
}

// count counts what a sequence yields.
func count[T any](seq iter.Seq[T]) int {
	n := 0
	for range seq {
		n++
	}
	return n
}
