package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// TestPassword_HashesVerifyAndDiffer: two users with one password do not have the same hash.
func TestPassword_HashesVerifyAndDiffer(t *testing.T) {
	x, errX := HashPassword("secret")
	y, errY := HashPassword("secret")
	if errX != nil || errY != nil || x == y {
		t.Fatal(x, y, errX, errY)
	}
	p, err := parsePHC(x)
	if err != nil || !p.matches("secret") || p.matches("Secret") || p.matches("") {
		t.Errorf("%v %v", p, err)
	}
	for _, bad := range []string{"", strings.Repeat("x", maxPassword+1)} {
		if _, err := HashPassword(bad); cluster.CodeOf(err) != cluster.Invalid {
			t.Errorf("%d bytes gave %v", len(bad), err)
		}
	}
}

// TestLimiter_FailuresAreForgivenWithTime, and a success forgives them at once.
func TestLimiter_FailuresAreForgivenWithTime(t *testing.T) {
	l, c, now := newLimiter(), client{"u", "192.0.2.1"}, time.Unix(1000, 0)
	for range freeFailures {
		if err := l.allow(c, now); err != nil {
			t.Fatal("refused early")
		}
		l.failed(c, now)
	}
	if l.allow(c, now) == nil {
		t.Error("not refused")
	}
	if err := l.allow(client{"u", "192.0.2.2"}, now); err != nil {
		t.Error("another address is refused")
	}
	if err := l.allow(c, now.Add(failureEvery)); err != nil {
		t.Error("refused after waiting")
	}
	l.passed(c)
	if err := l.allow(c, now); err != nil {
		t.Error("refused after a success")
	}
}

// FuzzParsePHC: a stored hash never makes a login cost more than the bounds, whatever it is.
func FuzzParsePHC(f *testing.F) {
	good, err := HashPassword("x")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{good, "", "$argon2id$v=19$m=99999999,t=1,p=1$AAAA$AAAA", "$argon2i$v=19$m=1,t=1,p=1$$", "$$$$$", strings.Replace(good, "t=2", "t=-1", 1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err == nil && (p.memoryKiB > maxMemoryKiB || p.passes < 1 || p.passes > maxPasses || p.lanes < 1 || len(p.hash) < 16) {
			t.Errorf("%q was taken as %+v", s, p)
		}
	})
}

// FuzzToken: no text but a signed one is a token, and reading any text is safe.
func FuzzToken(f *testing.F) {
	tokens := NewTokens(0)
	view := cluster.NewState().View()
	for _, s := range []string{"", "kt1.", "kt1.a.b.c", "kt1." + strings.Repeat(".", 100), "kt1.testkey.e30.AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := tokens.read(view, s); err == nil || c != nil {
			t.Errorf("%q is a token", s)
		}
		if text, _, _, err := split(s); err == nil {
			_, _ = decodeClaims(text)
		}
	})
}

// FuzzAuthRequest: whatever is sent to log in, decoding it is safe and a scope names one place at most.
func FuzzAuthRequest(f *testing.F) {
	for _, s := range []string{
		`{"auth":{"identity":{"methods":["password"]},"scope":"unscoped"}}`, `{"auth":{"scope":{"project":{"id":"x"},"system":{"all":true}}}}`,
		`{"auth":{"scope":null}}`, `{"auth":{"scope":[]}}`, `{"auth":{"scope":5}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var r authRequest
		if json.Unmarshal([]byte(s), &r) != nil || r.Auth == nil {
			return
		}
		if sc := r.Auth.Scope; sc.Project != nil && sc.System != nil || sc.Project != nil && sc.Domain != nil {
			t.Errorf("%q names two places", s)
		}
	})
}
