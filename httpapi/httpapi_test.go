package httpapi_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/httpapi"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func get(t *testing.T, h http.Handler, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://node-1:8774"+path, nil))
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestNew_EachServiceIsUnderItsPath, with a request ID, whether it is a chi router or any other handler.
func TestNew_EachServiceIsUnderItsPath(t *testing.T) {
	compute := chi.NewRouter()
	compute.Get("/v2.1/servers", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "servers") })
	image := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "image "+r.URL.Path) })
	broken := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken on purpose") })
	h := httpapi.New(httpapi.Config{Compute: compute, Image: image, Network: broken, Log: quiet()})

	for path, want := range map[string]string{"/compute/v2.1/servers": "servers", "/image/v2/images": "image /image/v2/images"} {
		res, body := get(t, h, path)
		if body != want || !strings.HasPrefix(res.Header.Get("X-Openstack-Request-Id"), "req-") {
			t.Errorf("%s: %q, %v", path, body, res.Header)
		}
	}
	if res, body := get(t, h, "/network/v2.0/networks"); res.StatusCode != 500 || !strings.Contains(body, "NeutronError") || strings.Contains(body, "purpose") {
		t.Errorf("a panic gave %d %s", res.StatusCode, body)
	}
	if res, _ := get(t, h, "/volume/v3"); res.StatusCode != http.StatusNotFound {
		t.Errorf("a service that is not there gave %d", res.StatusCode)
	}
	if res, body := get(t, h, "/"); res.StatusCode != 200 || !strings.Contains(body, "http://node-1:8774/compute/v2.1") || strings.Contains(body, "identity") {
		t.Errorf("the index is %s", body)
	}
	for _, path := range []string{"/healthz", "/readyz", "/livez"} {
		if res, _ := get(t, h, path); res.StatusCode != http.StatusOK {
			t.Errorf("%s is %d", path, res.StatusCode)
		}
	}
}

// TestNew_AProcessLivesThoughTheClusterDoesNot: without a quorum a node is not healthy, but there is no point in restarting it.
func TestNew_AProcessLivesThoughTheClusterDoesNot(t *testing.T) {
	ill := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	h := httpapi.New(httpapi.Config{Health: ill, Log: quiet()})
	for path, want := range map[string]int{"/healthz": http.StatusServiceUnavailable, "/readyz": http.StatusServiceUnavailable, "/livez": http.StatusOK} {
		if res, _ := get(t, h, path); res.StatusCode != want {
			t.Errorf("%s is %d", path, res.StatusCode)
		}
	}
}

// TestServer_BoundsHeadersAndConnections: a silent client and a huge header do not stop others.
func TestServer_BoundsHeadersAndConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.NewServer(httpapi.New(httpapi.Config{Log: quiet()}), nil, quiet())
	done := make(chan error, 1)
	go func() { done <- server.Serve(httpapi.LimitListener(l, 2)) }()

	held, err := net.Dial("tcp", l.Addr().String()) // a client that says nothing takes one of two places
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	for range 3 {
		res, err := client.Get("http://" + l.Addr().String() + "/healthz")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		_ = res.Body.Close()
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+l.Addr().String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", strings.Repeat("x", 200<<10))
	if res, err := client.Do(req); err == nil && res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 200 KiB gave %d", res.StatusCode)
	}
	_ = held.Close()
	client.CloseIdleConnections()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != http.ErrServerClosed {
		t.Errorf("serve ended with %v", err)
	}
}

// TestLimitListener_CloseEndsAWaitingAccept: the node stops while all places are taken.
func TestLimitListener_CloseEndsAWaitingAccept(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := httpapi.LimitListener(inner, 1)
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { _, err := l.Accept(); got <- err }()
	time.Sleep(20 * time.Millisecond)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err == nil {
		t.Error("accepted more than there are places")
	}
	_, _ = first.Close(), first.Close()
}
