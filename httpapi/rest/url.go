package rest

import (
	"net"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"
)

// BaseURL is the scheme and host under which the client reached this node, without a path or a final slash. Links and
// the catalog are made from it, so that a client stays with the node that it asked.
func BaseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	host := r.Host
	if host == "" { // HTTP/1.0
		if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			host = a.String()
		}
	}
	return (&url.URL{Scheme: scheme, Host: host}).String()
}

// Link is a reference in a body.
type Link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// NextURL is the address of the page behind the one that r asked for, whose last item is marker.
func NextURL(r *http.Request, marker string) string {
	q := r.URL.Query()
	q.Set("marker", marker)
	return BaseURL(r) + r.URL.EscapedPath() + "?" + q.Encode()
}

// NextLinks is the list of links under Nova's "servers_links" and the like: one to the next page.
func NextLinks(r *http.Request, marker string) []Link {
	return []Link{{Rel: "next", Href: NextURL(r, marker)}}
}

// Param returns a part of the path that the route names, unescaped.
func Param(r *http.Request, name string) string {
	raw := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return raw // the path needed no escapes beyond the usual, so it was split after they were undone
	}
	if text, err := url.PathUnescape(raw); err == nil {
		return text
	}
	return raw
}
