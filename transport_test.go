package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// busy answers 503 a number of times, then 200, and notes what it was asked.
type busy struct {
	times  int
	after  string // Retry-After
	keys   []string
	bodies []string
	length int64
}

func (b *busy) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		data, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		body = string(data)
	}
	b.keys, b.bodies, b.length = append(b.keys, req.Header.Get(idempotencyKey)), append(b.bodies, body), req.ContentLength
	status := http.StatusServiceUnavailable
	if len(b.keys) > b.times {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {b.after}}, Body: io.NopCloser(strings.NewReader("x"))}, nil
}

func send(ctx context.Context, t *testing.T, b *busy, method string, body io.Reader) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://node-1/", body)
	if err != nil {
		t.Fatal(err)
	}
	return (&patient{next: b, notes: io.Discard}).RoundTrip(req)
}

// TestPatient_RepeatsUnderOneKey sends a change while a leader is elected. It is repeated with its body, and always under
// the same key, so that it is done once.
func TestPatient_RepeatsUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &busy{times: 3, after: "2"}
		begin := time.Now()
		res, err := send(t.Context(), t, b, http.MethodPost, strings.NewReader("body"))
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", res, err)
		}
		if took := time.Since(begin); took != 6*time.Second {
			t.Errorf("waited %s instead of what the server asked for", took)
		}
		for i := range b.keys {
			if b.keys[i] == "" || b.keys[i] != b.keys[0] || b.bodies[i] != "body" {
				t.Errorf("attempt %d: key %q, body %q", i, b.keys[i], b.bodies[i])
			}
		}
	})
}

// TestPatient_TwoChangesHaveTwoKeys sends two changes, and reads, which need none.
func TestPatient_TwoChangesHaveTwoKeys(t *testing.T) {
	b := &busy{}
	for _, method := range []string{http.MethodPost, http.MethodPost, http.MethodGet} {
		if _, err := send(t.Context(), t, b, method, http.NoBody); err != nil {
			t.Fatal(err)
		}
	}
	if b.keys[0] == b.keys[1] || b.keys[2] != "" {
		t.Errorf("keys %q", b.keys)
	}
}

// TestPatient_GivesUp meets a cluster that does not come back: the refusal is handed on, after a while.
func TestPatient_GivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for method, least := range map[string]time.Duration{http.MethodGet: readPatience, http.MethodPost: patience} {
			b := &busy{times: 1 << 30, after: "86400"}
			begin := time.Now()
			res, err := send(t.Context(), t, b, method, nil)
			if err != nil || res.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("%v, %v", res, err)
			}
			if took := time.Since(begin); took < least || took > least+maxRetryAfter {
				t.Errorf("%s: gave up after %s", method, took)
			}
		}
	})
}

// crowded answers 429 once, then 200.
type crowded struct{ asked int }

func (c *crowded) RoundTrip(*http.Request) (*http.Response, error) {
	if c.asked++; c.asked > 1 {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3"}}, Body: http.NoBody}, nil
}

// TestPatient_ComesAgainWhenTheNodeIsCrowded: a node sends a request away because of all the others of this project. It is sent again when the
// node said; a login is not, since whoever has guessed too often only would be refused for longer.
func TestPatient_ComesAgainWhenTheNodeIsCrowded(t *testing.T) {
	for path, want := range map[string]int{"/compute/v2.1/servers": http.StatusOK, "/identity/v3/auth/tokens": http.StatusTooManyRequests} {
		synctest.Test(t, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://node-1"+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			res, err := (&patient{next: &crowded{}, notes: io.Discard}).RoundTrip(req)
			if err != nil || res.StatusCode != want {
				t.Fatalf("%s: %v, %v", path, res, err)
			}
			if took := time.Since(begin); (took == 3*time.Second) != (want == http.StatusOK) {
				t.Errorf("%s: after %v", path, took)
			}
		})
	}
}

// slow answers after a while, as a cluster without a quorum does.
type slow struct{ status int }

func (s slow) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(5 * time.Second)
	return &http.Response{StatusCode: s.status, Header: http.Header{}, Body: http.NoBody}, nil
}

// TestPatient_SaysThatItWaits lists servers while there is no quorum. After two seconds it is said that somebody waits, once, and
// within six the command ends with the cluster's word. A login is the same.
func TestPatient_SaysThatItWaits(t *testing.T) {
	for method, url := range map[string]string{http.MethodGet: "http://node-1/compute/v2.1/servers", http.MethodPost: "http://node-1/identity/v3/auth/tokens"} {
		synctest.Test(t, func(t *testing.T) {
			var notes strings.Builder
			p := &patient{next: slow{http.StatusServiceUnavailable}, notes: &notes}
			begin := time.Now()
			for range 2 {
				req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				if res, err := p.RoundTrip(req); err != nil || res.StatusCode != http.StatusServiceUnavailable {
					t.Fatalf("%v, %v", res, err)
				}
			}
			if took := time.Since(begin) / 2; took > 6*time.Second || strings.Count(notes.String(), "has not answered for 2s") != 1 {
				t.Errorf("%s after %s: %q", method, took, notes.String())
			}
		})
	}
}

// TestPatient_IsQuietWhenAnswered hears nothing of waiting when the cluster answers.
func TestPatient_IsQuietWhenAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var notes strings.Builder
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node-1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&patient{next: &busy{}, notes: &notes}).RoundTrip(req); err != nil || notes.String() != "" {
			t.Errorf("%v, %q", err, notes.String())
		}
	})
}

// TestPatient_StopsWhenInterrupted presses Ctrl-C during the wait.
func TestPatient_StopsWhenInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := send(ctx, t, &busy{times: 1 << 30}, http.MethodGet, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// TestPatient_SendsAFileOnce uploads, which cannot be repeated: half of the file would be missing. Its length is told
// beforehand.
func TestPatient_SendsAFileOnce(t *testing.T) {
	file, err := openUpload(writeTemp(t, "disk", "twelve bytes"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b := &busy{times: 1}
	res, err := send(t.Context(), t, b, http.MethodPut, file)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || len(b.keys) != 1 {
		t.Errorf("%v, %v, %d attempts", res, err, len(b.keys))
	}
	if b.length != 12 || b.bodies[0] != "twelve bytes" {
		t.Errorf("length %d, body %q", b.length, b.bodies[0])
	}
}
