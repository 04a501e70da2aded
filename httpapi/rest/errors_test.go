package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// failWith gives what a shape replies with an error.
func failWith(errs Errors, err error, accept string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "https://node-1:8774/x", nil)
	r.Header.Set("Accept", accept)
	RequestID("compute")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { errs.Fail(w, r, err) })).ServeHTTP(w, r)
	return w
}

// TestErrors_EachServiceHasItsShape: bodies are compared with those that real services sent.
func TestErrors_EachServiceHasItsShape(t *testing.T) {
	notFound := cluster.Errorf(cluster.NotFound, "It could not be found.")
	unauthorizedBody := `{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}`
	for name, c := range map[string]struct {
		errs   Errors
		err    error
		accept string
		status int
		body   string
	}{
		"nova 404":      {NovaErrors, notFound, "", 404, `{"itemNotFound":{"code":404,"message":"It could not be found."}}`},
		"nova quota":    {NovaErrors, cluster.Errorf(cluster.OverQuota, "Quota exceeded"), "", 403, `{"forbidden":{"code":403,"message":"Quota exceeded"}}`},
		"nova 401":      {NovaErrors, cluster.Errorf(cluster.Unauthorized, "why"), "", 401, unauthorizedBody},
		"nova 406":      {NovaErrors, &HTTPError{Status: 406, Message: "no"}, "", 406, `{"computeFault":{"code":406,"message":"no"}}`},
		"nova 413":      {NovaErrors, cluster.Errorf(cluster.TooLarge, "Too large."), "", 413, `{"message":"Too large.<br /><br />\n\n\n","code":"413 Request Entity Too Large","title":"Request Entity Too Large"}`},
		"nova bad JSON": {NovaErrors, errMalformed, "", 400, `{"badRequest":{"code":400,"message":"Malformed request body"}}`},
		"keystone 404":  {KeystoneErrors, notFound, "", 404, `{"error":{"code":404,"message":"It could not be found.","title":"Not Found"}}`},
		"keystone 401":  {KeystoneErrors, cluster.Errorf(cluster.Unauthorized, "why"), "", 401, unauthorizedBody},
		"keystone JSON": {KeystoneErrors, fmt.Errorf("wrapped: %w", errMalformed), "", 400, `{"error":{"code":400,"message":"` + keystoneMalformed + `","title":"Bad Request"}}`},
		"glance JSON":   {GlanceErrors, notFound, "application/json", 404, `{"message":"It could not be found.<br /><br />\n\n\n","code":"404 Not Found","title":"Not Found"}`},
		"glance HTML": {GlanceErrors, cluster.Errorf(cluster.NotFound, "No <image>"), "*/*", 404, "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n" +
			"  <h1>404 Not Found</h1>\n  No &lt;image&gt;<br /><br />\n\n\n\n </body>\n</html>"},
		"glance quota":  {GlanceErrors, cluster.Errorf(cluster.OverQuota, "full"), "application/json", 413, `{"message":"full<br /><br />\n\n\n","code":"413 Request Entity Too Large","title":"Request Entity Too Large"}`},
		"neutron type":  {NeutronErrors, &HTTPError{Status: 409, Type: "NetworkInUse", Message: "in use"}, "", 409, `{"NeutronError":{"type":"NetworkInUse","message":"in use","detail":""}}`},
		"neutron quota": {NeutronErrors, cluster.Errorf(cluster.OverQuota, "full"), "", 409, `{"NeutronError":{"type":"OverQuota","message":"full","detail":""}}`},
		"neutron JSON":  {NeutronErrors, errMalformed, "", 400, `{"NeutronError":{"type":"HTTPBadRequest","message":"Body contains invalid data","detail":""}}`},
		"neutron 401":   {NeutronErrors, cluster.Errorf(cluster.Unauthorized, "why"), "", 401, unauthorizedBody},
		"neutron 415":   {NeutronErrors, &HTTPError{Status: 415, Message: "no"}, "", 415, `{"NeutronError":{"type":"HTTPUnsupportedMediaType","message":"no","detail":""}}`},
	} {
		w := failWith(c.errs, c.err, c.accept)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d %s\nwant %d %s", name, w.Code, w.Body, c.status, c.body)
		}
		if c.status == 401 && w.Header().Get("WWW-Authenticate") != `Keystone uri="https://node-1:8774/identity/v3"` {
			t.Errorf("%s: WWW-Authenticate is %q", name, w.Header().Get("WWW-Authenticate"))
		}
	}
}

// TestErrors_FaultsOfOursTellTheClientOnlyTheRequestID, and the log everything.
func TestErrors_FaultsOfOursTellTheClientOnlyTheRequestID(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	for _, errs := range []Errors{NovaErrors, KeystoneErrors, GlanceErrors, NeutronErrors} {
		for _, err := range []error{errors.New("disk sda caught fire"), cluster.Errorf(cluster.Internal, "disk sda caught fire")} {
			log.Reset()
			w := failWith(errs, err, "application/json")
			id := w.Header().Get(RequestIDHeader)
			if w.Code != 500 || strings.Contains(w.Body.String(), "sda") || !strings.Contains(w.Body.String(), id) {
				t.Errorf("%T: %d %s", errs, w.Code, w.Body)
			}
			if !strings.Contains(log.String(), "sda") || !strings.Contains(log.String(), id) {
				t.Errorf("%T: the log says %s", errs, &log)
			}
		}
	}
}

// TestErrors_WhatIsNotThereIsNoFaultOfOurs: any client may ask for what is not built, and must not fill the log with errors.
func TestErrors_WhatIsNotThereIsNoFaultOfOurs(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	err := &HTTPError{Status: http.StatusNotImplemented, Code: cluster.Invalid, Message: "no resize"}
	for _, errs := range []Errors{NovaErrors, KeystoneErrors, GlanceErrors, NeutronErrors} {
		if w := failWith(errs, err, "application/json"); w.Code != http.StatusNotImplemented || log.Len() > 0 {
			t.Errorf("%T: %d, logged %s", errs, w.Code, &log)
		}
	}
}

// TestErrors_UnknownOutcomesAre503: a client that asks again must be told to.
func TestErrors_UnknownOutcomesAre503(t *testing.T) {
	for _, err := range []error{cluster.Errorf(cluster.Unavailable, "no leader"), fmt.Errorf("propose: %w", context.DeadlineExceeded), context.Canceled} {
		for _, errs := range []Errors{NovaErrors, KeystoneErrors, GlanceErrors, NeutronErrors} {
			if w := failWith(errs, err, ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
				t.Errorf("%T, %v: %d", errs, err, w.Code)
			}
		}
	}
}

// TestStatusOf_KnowsEveryCode.
func TestStatusOf_KnowsEveryCode(t *testing.T) {
	for _, code := range []cluster.Code{
		cluster.Invalid, cluster.Unauthorized, cluster.Forbidden, cluster.NotFound, cluster.Conflict, cluster.Stale, cluster.OverQuota,
		cluster.NoRoom, cluster.TooLarge, cluster.Unavailable,
	} {
		if s := StatusOf(code); s == 500 {
			t.Errorf("%s is %d", code, s)
		}
		if neutronTypes[code] == "" && code != cluster.Unauthorized {
			t.Errorf("%s has no type in Neutron", code)
		}
	}
	if StatusOf("something new") != 500 || StatusOf(cluster.Internal) != 500 {
		t.Error("an unknown code is no fault of ours")
	}
}

// TestPrefersJSON_RanksAsTheClientDoes.
func TestPrefersJSON_RanksAsTheClientDoes(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": true, "application/json, */*;q=0.8": true, "text/html, application/json;q=0.9": false,
		"application/*": true, "text/plain": false, "application/json;q=0, text/html": false, "APPLICATION/JSON": true, ";;,,=": false,
	} {
		if got := prefersJSON(accept); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// TestReply_WritesPlainJSON: links must keep their ampersands.
func TestReply_WritesPlainJSON(t *testing.T) {
	w := httptest.NewRecorder()
	Reply(w, http.StatusOK, map[string]string{"href": "http://x/?a=1&b=2<"})
	if got := w.Body.String(); got != `{"href":"http://x/?a=1&b=2<"}` || w.Header().Get("Content-Length") != fmt.Sprint(len(got)) {
		t.Errorf("%s %v", got, w.Header())
	}
	w = httptest.NewRecorder()
	Reply(w, http.StatusAccepted, nil)
	if w.Body.Len() > 0 || w.Header().Get("Content-Type") != "" || w.Code != 202 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
