package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

// Reply writes body as JSON. A nil body, and a status that has none, send no body.
func Reply(w http.ResponseWriter, status int, body any) {
	replyTyped(w, status, "application/json", body)
}

func replyTyped(w http.ResponseWriter, status int, contentType string, body any) {
	if body == nil || status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		panic("rest: reply that has no JSON: " + err.Error()) // our own types always have one
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()-1))
	w.WriteHeader(status)
	if _, err := w.Write(b.Bytes()[:b.Len()-1]); err != nil { // without the encoder's newline
		slog.Debug("client went away", "err", err)
	}
}

// writeText writes a body; a client that went away is nobody's error.
func writeText(w http.ResponseWriter, s string) {
	if _, err := io.WriteString(w, s); err != nil {
		slog.Debug("client went away", "err", err)
	}
}

func statusLine(status int) string { return strconv.Itoa(status) + " " + http.StatusText(status) }

// prefersJSON tells whether an Accept header ranks JSON above HTML (RFC 9110, section 12.5.1). Where they rank alike,
// as in */* or without a header, webob sends HTML.
func prefersJSON(accept string) bool {
	j, h := quality(accept, "application", "json"), quality(accept, "text", "html")
	return j > h
}

// quality is the weight that an Accept header gives to a media type, by its most specific range.
func quality(accept, kind, subtype string) float64 {
	if strings.TrimSpace(accept) == "" {
		return 1
	}
	best, q := -1, 0.0
	for _, part := range strings.Split(accept, ",") {
		media, params, _ := strings.Cut(part, ";")
		specific := -1
		switch strings.ToLower(strings.TrimSpace(media)) {
		case kind + "/" + subtype:
			specific = 2
		case kind + "/*":
			specific = 1
		case "*/*":
			specific = 0
		}
		if specific <= best {
			continue
		}
		best, q = specific, 1
		for _, p := range strings.Split(params, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			if n, err := strconv.ParseFloat(value, 64); strings.EqualFold(name, "q") && err == nil {
				q = n
			}
		}
	}
	return q
}

// ReplyHTML writes a page, for the few errors that OpenStack's services answer with one.
func ReplyHTML(w http.ResponseWriter, status int, page string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	writeText(w, page)
}
