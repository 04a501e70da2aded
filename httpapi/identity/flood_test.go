package identity_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/identity"
)

// Two hundred wrong passwords come at once from one address, each for another user, and again as soon as they are answered. Somebody elsewhere
// logs in meanwhile, and is not kept waiting for more than the few hashes that one address may have under way.
func TestLogin_AFloodDelaysNobodyElsewhere(t *testing.T) {
	a := newAPI(t)
	hash, err := identity.HashPassword(password) // at its real cost
	if err != nil {
		t.Fatal(err)
	}
	demo, _ := a.Local().User(a.Users["demo"])
	changed := *demo
	changed.PasswordHash = hash
	a.Must(&cluster.PutUser{User: changed})
	from := func(address, user, secret string) int {
		r := httptest.NewRequest(http.MethodPost, "http://node-1:8774/identity/v3/auth/tokens", strings.NewReader(loginBody(user, secret, "")))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = address + ":1000"
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, r)
		return w.Code
	}
	var stop atomic.Bool
	var slowed, answered atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for !stop.Load() {
				answered.Add(1)
				if from("192.0.2.66", "guess-"+strconv.Itoa(i), "wrong") == http.StatusTooManyRequests {
					slowed.Add(1)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	start := time.Now()
	code := from("192.0.2.1", "demo", password)
	took := time.Since(start)
	stop.Store(true)
	wg.Wait()
	if code != http.StatusCreated || took > 3*time.Second {
		t.Errorf("the right password gave %d after %v", code, took)
	}
	if slowed.Load() == 0 || slowed.Load() < answered.Load()/2 {
		t.Errorf("of %d wrong ones, %d were told to slow down", answered.Load(), slowed.Load())
	}
}
