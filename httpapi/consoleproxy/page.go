package consoleproxy

import (
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Page is the name, below Path, of the page that connects by itself. Nova's URLs name it.
const Page = "vnc_auto.html"

// pages are the files that may stand for Page: releases of noVNC differ in which they have.
var pages = []string{Page, "vnc.html", "vnc_lite.html"}

// served are the kinds of files that noVNC consists of.
var served = []string{".html", ".js", ".css", ".svg", ".png", ".ico", ".json", ".oga", ".mp3", ".ttf", ".woff", ".woff2"}

// page serves noVNC's files.
func (p *Proxy) page(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		tell(w, http.StatusMethodNotAllowed, "A console is opened with a websocket.")
		return
	}
	if p.cfg.NoVNC == nil {
		tell(w, http.StatusNotImplemented, "noVNC is not installed on this node. Install it there (on Debian: apt install novnc) and restart kilonova, "+
			"or ask another node. Serial consoles need no page: kilonova server console SERVER.")
		return
	}
	name, ok := p.file(strings.TrimPrefix(r.URL.Path, Path+"/"))
	if !ok {
		tell(w, http.StatusNotFound, "There is no such page.")
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // the page's address holds a token
	h.Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, p.cfg.NoVNC, name)
}

// file finds the file that a path stands for.
func (p *Proxy) file(name string) (string, bool) {
	candidates := []string{name}
	if name == Page || name == "" {
		candidates = pages
	}
	for _, c := range candidates {
		hidden := strings.HasPrefix(c, ".") || strings.Contains(c, "/.")
		if hidden || !fs.ValidPath(c) || !slices.Contains(served, path.Ext(c)) {
			continue
		}
		if info, err := fs.Stat(p.cfg.NoVNC, c); err == nil && info.Mode().IsRegular() {
			return c, true
		}
	}
	return "", false
}

// reasonHeader carries what is wrong to websocket clients, most of which show no bodies.
const reasonHeader = "X-Kilonova-Error"

// refuse says what is wrong, in plain HTTP. A token that is not valid is 403: there is nothing to log in with.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, message := http.StatusInternalServerError, "The console could not be opened."
	if code := cluster.CodeOf(err); code != cluster.Internal {
		status, message = rest.StatusOf(code), err.Error()
	}
	switch status {
	case http.StatusUnauthorized:
		status = http.StatusForbidden
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "2")
	}
	w.Header().Set("Connection", "close")
	w.Header().Set(reasonHeader, strings.Map(printable, message))
	if r.Header.Get("Accept") == "" {
		// Simple websocket clients, OpenStack's tests among them, take whatever follows the header for frames.
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	tell(w, status, message)
}

func printable(c rune) rune {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}

// tell replies with a small page.
func tell(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	text := html.EscapeString(message)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head><title>%d %s</title></head>\n<body><h1>Console</h1><p>%s</p></body></html>\n",
		status, http.StatusText(status), text) // an error here is the client's connection
}
