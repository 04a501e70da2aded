package consoleproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/coder/websocket"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

// town is a cloud with a running instance, and nodes that serve its console. Its guests are pipes.
type town struct {
	*resttest.Cloud
	t        testing.TB
	instance cluster.InstanceID
	nodes    []*httptest.Server
	proxies  []*Proxy
	guests   chan net.Conn // the guests' ends of what was dialled
	refusal  error         // of DialConsole

	mu      sync.Mutex
	changed chan struct{}
}

func newTown(t testing.TB, nodes int) *town {
	w := &town{Cloud: resttest.NewCloud(t), t: t, guests: make(chan net.Conn, 1000), changed: make(chan struct{})}
	w.instance = cluster.InstanceID(rest.NewUUID())
	image := cluster.ImageID(rest.NewUUID())
	w.Must(&cluster.PutImage{Image: cluster.Image{
		ID: image, Owner: w.Projs["admin"], Name: "tiny", Status: cluster.ImageActive, Visibility: cluster.Public,
		Data: &cluster.ImageData{Root: cluster.Hash{1}, Size: 1, Nodes: []cluster.NodeID{w.Node.ID}},
	}})
	w.Must(&cluster.CreateInstances{
		Project: w.Projs["demo"], User: w.Users["demo"],
		Spec:  cluster.Spec{Image: image, Flavor: cluster.Flavor{ID: "1", Name: "nano", VCPUs: 1, MemoryMiB: 64, RxTxFactor: 1}},
		Items: []cluster.NewInstance{{ID: w.instance, Name: "a", Hostname: "a"}},
	})
	in, _ := w.Local().Instance(w.instance)
	w.Must(&cluster.PlaceInstance{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Node: w.Node.ID})
	w.power(cluster.PowerRunning)
	for range nodes {
		p := New(Config{Cluster: w, Dialer: w, Log: slog.New(slog.DiscardHandler), NoVNC: fstest.MapFS{
			"vnc.html": {Data: []byte("<html>noVNC</html>")}, "core/rfb.js": {Data: []byte("// RFB")}, ".git/config.js": {Data: []byte("x")},
			"secret.key": {Data: []byte("x")},
		}})
		s := httptest.NewServer(p)
		w.proxies, w.nodes = append(w.proxies, p), append(w.nodes, s)
		t.Cleanup(func() { s.Close(); p.Close() })
	}
	return w
}

// power reports what the instance's node sees.
func (w *town) power(p cluster.PowerState) {
	w.t.Helper()
	in, _ := w.Local().Instance(w.instance)
	w.do(&cluster.ReportInstances{Node: w.Node.ID, Reports: []cluster.InstanceReport{
		{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Boot: in.Boot, Power: p}}})
}

// do changes the cluster and wakes those who wait.
func (w *town) do(op cluster.Op) {
	w.t.Helper()
	w.Must(op)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Latest implements Cluster.
func (w *town) Latest() (*cluster.View, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Local(), w.changed
}

// DialConsole implements Dialer.
func (w *town) DialConsole(_ context.Context, in *cluster.Instance, _ cluster.ConsoleKind) (io.ReadWriteCloser, error) {
	if w.refusal != nil {
		return nil, w.refusal
	}
	if in.Node != w.Node.ID {
		return nil, errors.New("dialled on another node")
	}
	ours, guests := net.Pipe()
	w.guests <- guests
	return ours, nil
}

// token makes a console token for the user demo.
func (w *town) token(life time.Duration) string {
	w.t.Helper()
	secret := rest.NewUUID()
	w.do(&cluster.AddConsoleToken{Life: life, Token: cluster.ConsoleToken{
		Hash: HashOf(secret), Instance: w.instance, Kind: cluster.ConsoleNoVNC, Project: w.Projs["demo"], User: w.Users["demo"], Asked: "asked",
	}})
	return secret
}

// open connects to a node with a token.
func (w *town) open(node int, token string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return websocket.Dial(ctx, w.nodes[node].URL+Path+"/vnc?token="+token, &websocket.DialOptions{Subprotocols: []string{"binary"}})
}

// session opens a session that must succeed, and gives both ends.
func (w *town) session(life time.Duration) (*websocket.Conn, net.Conn) {
	w.t.Helper()
	ws, _, err := w.open(0, w.token(life))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ws.CloseNow() })
	guest := <-w.guests
	w.t.Cleanup(func() { guest.Close() })
	return ws, guest
}

// ends waits for the session's end and checks what the client is told.
func (w *town) ends(ws *websocket.Conn, code websocket.StatusCode, words string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _, err := ws.Read(ctx)
	var c websocket.CloseError
	if !errors.As(err, &c) || c.Code != code || !strings.Contains(c.Reason, words) {
		w.t.Fatalf("the session ended with %v, not %v %q", err, code, words)
	}
}

// refused checks that a request to open a session was answered in plain HTTP.
func (w *town) refused(node int, token string, status int, words string) {
	w.t.Helper()
	ws, res, err := w.open(node, token)
	if err == nil {
		ws.CloseNow()
		w.t.Fatalf("a session was opened; want %d %s", status, words)
	}
	if res == nil || res.StatusCode != status || !strings.Contains(res.Header.Get(reasonHeader), words) {
		w.t.Fatalf("refused with %v (%v), not %d %q", res, err, status, words)
	}
}

// A token is shown to two nodes at the same moment, many times over. Each time exactly one of them opens a session.
func TestToken_IsUsedOnceInTheWholeCluster(t *testing.T) {
	w := newTown(t, 2)
	for range 20 {
		token := w.token(time.Minute)
		var opened [2]bool
		var wg sync.WaitGroup
		for node := range 2 {
			wg.Go(func() {
				ws, res, err := w.open(node, token)
				if opened[node] = err == nil; err == nil {
					ws.CloseNow()
				} else if res == nil || res.StatusCode != http.StatusForbidden || !strings.Contains(res.Header.Get(reasonHeader), "used already") {
					t.Errorf("refused with %v: %v", res, err)
				}
			})
		}
		wg.Wait()
		if opened[0] == opened[1] {
			t.Fatalf("sessions opened: %v", opened)
		}
		(<-w.guests).Close()
	}
}

func TestToken_ThatOpensNothingSaysWhy(t *testing.T) {
	w := newTown(t, 2)
	w.refused(0, "", http.StatusForbidden, "not valid")
	w.refused(0, "bad", http.StatusForbidden, "not valid")
	before := len(w.Applied())
	w.refused(1, rest.NewUUID(), http.StatusForbidden, "not valid")
	if len(w.Applied()) != before {
		t.Error("a guessed token reached the log")
	}

	old := w.token(time.Millisecond)
	time.Sleep(5 * time.Millisecond)
	w.refused(0, old, http.StatusForbidden, "its time is over")

	revoked := w.token(time.Minute)
	w.do(&cluster.RevokeToken{Revocation: cluster.Revocation{Token: "asked", Expires: cluster.At(time.Now().Add(time.Hour))}})
	w.refused(0, revoked, http.StatusForbidden, "no access")
}

func TestToken_OfAnInstanceThatIsOffIsAConflict(t *testing.T) {
	w := newTown(t, 1)
	token := w.token(time.Minute)
	w.power(cluster.PowerShutdown)
	w.refused(0, token, http.StatusConflict, "not running")
}

// Without a quorum nobody knows whether a token was used, so nothing is opened.
func TestToken_WithoutAQuorumOpensNothing(t *testing.T) {
	w := newTown(t, 1)
	token := w.token(time.Minute)
	w.LoseQuorum(true)
	w.refused(0, token, http.StatusServiceUnavailable, "quorum")
	w.refused(0, "unknown", http.StatusServiceUnavailable, "quorum")
}

// The node lags behind the one that made the token. It asks before it says no.
func TestToken_MadeElsewhereAMomentAgoIsKnown(t *testing.T) {
	w := newTown(t, 1)
	w.Lag(true)
	token := w.token(time.Minute)
	w.Lag(false)
	ws, _, err := w.open(0, token)
	if err != nil {
		t.Fatal(err)
	}
	ws.CloseNow()
}

func TestDial_FailuresAreToldBeforeTheUpgrade(t *testing.T) {
	w := newTown(t, 1)
	w.refusal = cluster.Errorf(cluster.Conflict, "Instance x is not running.")
	w.refused(0, w.token(time.Minute), http.StatusConflict, "not running")
	w.refusal = errors.New("connection to /run/secret/socket refused")
	w.refused(0, w.token(time.Minute), http.StatusServiceUnavailable, "cannot be reached")
}

// A script of another site makes its visitor's browser connect. It is refused, and the token stays good for whom it was made.
func TestOrigin_OfAnotherSiteIsRefused(t *testing.T) {
	w := newTown(t, 1)
	token := w.token(time.Minute)
	dial := func(origin string) (*http.Response, error) {
		ws, res, err := websocket.Dial(t.Context(), w.nodes[0].URL+"?token="+token, &websocket.DialOptions{
			HTTPHeader: http.Header{"Origin": {origin}, "Accept": {"text/html"}}})
		if err == nil {
			ws.CloseNow()
		}
		return res, err
	}
	for _, origin := range []string{"https://evil.example", "null", "http://[", "https://" + strings.TrimPrefix(w.nodes[0].URL, "http://") + ".evil.example"} {
		res, err := dial(origin)
		if err == nil || res.StatusCode != http.StatusForbidden {
			t.Fatalf("%s: %v, %v", origin, res, err)
		}
		if b, _ := io.ReadAll(res.Body); !strings.Contains(string(b), "Origin") {
			t.Errorf("%s: the body is %q", origin, b)
		}
	}
	if _, err := dial(w.nodes[0].URL); err != nil {
		t.Fatal(err)
	}
}

// A request that cannot become a websocket does not use the token up.
func TestToken_OutlivesAHandshakeThatIsNone(t *testing.T) {
	w := newTown(t, 1)
	token := w.token(time.Minute)
	good := http.Header{"Upgrade": {"websocket"}, "Connection": {"keep-alive, Upgrade"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"x3JJHMbDL1EzLkh9GBhXDw=="}, "Accept": {"*/*"}}
	for name, change := range map[string]func(*http.Request){
		"no version":    func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") },
		"old version":   func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") },
		"no key":        func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") },
		"two keys":      func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==") },
		"short key":     func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "c2hvcnQ=") },
		"no connection": func(r *http.Request) { r.Header.Set("Connection", "keep-alive") },
		"POST":          func(r *http.Request) { r.Method = "POST" },
	} {
		r, err := http.NewRequest("GET", w.nodes[0].URL+Path+"/vnc?token="+token, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = good.Clone()
		change(r)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "handshake") {
			t.Errorf("%s: %d %s", name, res.StatusCode, b)
		}
		res.Body.Close()
	}
	ws, _, err := w.open(0, token)
	if err != nil {
		t.Fatal(err)
	}
	ws.CloseNow()
}

// Random bytes go both ways at once, in messages of all sizes. Not one is lost, changed or out of order.
func TestSession_PassesEveryByteOn(t *testing.T) {
	w := newTown(t, 1)
	ws, guest := w.session(time.Minute)
	if ws.Subprotocol() != "binary" {
		t.Errorf("subprotocol %q", ws.Subprotocol())
	}
	ws.SetReadLimit(chunkBytes)
	const total = 4 << 20
	noise := make([]byte, 2*total)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(noise)
	down, up := noise[:total], noise[total:]
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := down; len(b) > 0; {
			n := min(len(b), 1+int(r.Uint64()%100_000))
			guest.Write(b[:n])
			b = b[n:]
		}
	})
	wg.Go(func() {
		for i, b := 0, up; len(b) > 0; i++ {
			n := min(len(b), 1+i*i%200_000)
			if err := ws.Write(t.Context(), websocket.MessageType(1+i%2), b[:n]); err != nil {
				t.Error(err)
				return
			}
			b = b[n:]
		}
	})
	wg.Go(func() {
		got := make([]byte, total)
		if _, err := io.ReadFull(guest, got); err != nil || !bytes.Equal(got, up) {
			t.Errorf("the guest got something else (%v)", err)
		}
	})
	var got []byte
	for len(got) < total {
		kind, b, err := ws.Read(t.Context())
		if err != nil || kind != websocket.MessageBinary {
			t.Fatal(kind, err)
		}
		got = append(got, b...)
	}
	if !bytes.Equal(got, down) {
		t.Error("the client got something else")
	}
	wg.Wait()
}

// A client reads nothing. The guest has to wait: the proxy keeps no more than its buffers. Then the client goes on, and has missed nothing.
func TestSession_OfASlowReaderMakesTheGuestWait(t *testing.T) {
	w := newTown(t, 1)
	ws, guest := w.session(time.Minute)
	const most = 64 << 20 // far more than the buffers of the kernel
	written := 0
	chunk := bytes.Repeat([]byte("kilonova"), 8<<10)
	guest.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	for written < most {
		n, err := guest.Write(chunk)
		written += n
		if err != nil {
			break
		}
	}
	if written == most {
		t.Fatal("the guest never had to wait")
	}
	guest.Close()
	ws.SetReadLimit(chunkBytes)
	for got := 0; got < written; {
		_, b, err := ws.Read(t.Context())
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", got, written, err)
		}
		got += len(b)
	}
}

func TestSession_EndsWithItsToken(t *testing.T) {
	w := newTown(t, 1)
	ws, guest := w.session(300 * time.Millisecond)
	w.ends(ws, websocket.StatusPolicyViolation, "time of the console token is over")
	if _, err := guest.Read(make([]byte, 1)); err == nil {
		t.Error("the guest's console stays open")
	}
}

// Whatever takes away what the token was given for ends the session at once, and says why.
func TestSession_EndsWithWhatItWasGivenFor(t *testing.T) {
	for name, x := range map[string]struct {
		end   func(*town)
		words string
	}{
		"instance stops":          {func(w *town) { w.power(cluster.PowerShutdown) }, "not running"},
		"instance is wanted gone": {func(w *town) { w.do(&cluster.DeleteInstance{ID: w.instance}) }, "could not be found"},
		"token is revoked": {func(w *town) {
			w.do(&cluster.RevokeToken{Revocation: cluster.Revocation{Token: "asked", Expires: cluster.At(time.Now().Add(time.Hour))}})
		}, "no access"},
		"role is taken": {func(w *town) {
			w.do(&cluster.DeleteAssignment{Assignment: cluster.Assignment{
				User: w.Users["demo"], Project: w.Projs["demo"], Role: w.Roles[cluster.RoleMember]}})
		}, "no access"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 1)
			ws, _ := w.session(time.Minute)
			x.end(w)
			w.ends(ws, websocket.StatusPolicyViolation, x.words)
		})
	}
}

func TestSession_EndsWithItsGuestOrItsClient(t *testing.T) {
	w := newTown(t, 1)
	ws, guest := w.session(time.Minute)
	guest.Close()
	w.ends(ws, websocket.StatusNormalClosure, "closed by the guest")

	ws, guest = w.session(time.Minute)
	ws.CloseNow()
	guest.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := guest.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the guest reads %v", err)
	}
}

// A message longer than the limit ends the session instead of filling memory.
func TestSession_BoundsMessages(t *testing.T) {
	w := newTown(t, 1)
	ws, guest := w.session(time.Minute)
	go io.Copy(io.Discard, guest)
	_ = ws.Write(t.Context(), websocket.MessageBinary, make([]byte, maxMessage+1))
	w.ends(ws, websocket.StatusMessageTooBig, "")
}

// A node stops. Its sessions end with a word, and new ones are not opened.
func TestClose_EndsSessions(t *testing.T) {
	w := newTown(t, 1)
	ws, _ := w.session(time.Minute)
	token := w.token(time.Minute)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.proxies[0].Close()
	}()
	w.ends(ws, websocket.StatusGoingAway, "node stops")
	<-done
	w.refused(0, token, http.StatusServiceUnavailable, "stops")
}

// Hundreds of sessions come and go, ended by either side or by both. Nothing stays behind.
func TestSession_LeavesNothingBehind(t *testing.T) {
	w := newTown(t, 1)
	first, _ := w.session(time.Minute) // what is made once and stays is there now
	first.CloseNow()
	time.Sleep(50 * time.Millisecond)
	before := runtime.NumGoroutine()
	const rounds, width = 20, 16
	for range rounds {
		var wg sync.WaitGroup
		for i := range width {
			token := w.token(time.Minute)
			wg.Go(func() {
				ws, _, err := w.open(0, token)
				if err != nil {
					t.Error(err)
					return
				}
				guest := <-w.guests
				if i%2 == 0 {
					guest.Close()
				} else {
					defer guest.Close()
				}
				if i%3 == 0 {
					ws.Close(websocket.StatusNormalClosure, "")
				}
				ws.CloseNow()
			})
		}
		wg.Wait()
	}
	http.DefaultClient.CloseIdleConnections()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+2 || len(w.proxies[0].slots) > 0 {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after, %d slots taken:\n%s", before, runtime.NumGoroutine(), len(w.proxies[0].slots), buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// As many sessions as a node serves are open. The next one is told to come back, and its token stays good.
func TestServe_BoundsSessions(t *testing.T) {
	w := newTown(t, 1)
	w.proxies[0].slots = make(chan struct{}, 1)
	token := w.token(time.Minute)
	ws, _ := w.session(time.Minute)
	w.refused(0, token, http.StatusServiceUnavailable, "as many console sessions")
	ws.CloseNow()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if again, _, err := w.open(0, token); err == nil {
			again.CloseNow()
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestPage_ServesNoVNCAndNothingElse(t *testing.T) {
	w := newTown(t, 1)
	for path, want := range map[string]int{
		"/" + Page + "?path=console%2Fvnc%3Ftoken%3Dx": 200, "/": 200, "/core/rfb.js": 200, "/vnc.html": 200,
		"/core": 404, "/core/": 404, "/.git/config.js": 404, "/secret.key": 404, "/../proxy.go": 404, "/nothing.js": 404,
	} {
		res, err := http.Get(w.nodes[0].URL + Path + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, b)
		}
	}
	res, err := http.Post(w.nodes[0].URL+Path+"/"+Page, "text/plain", strings.NewReader("x"))
	if err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v", res, err)
	}
}

func TestPage_SaysThatNoVNCIsMissing(t *testing.T) {
	p := New(Config{})
	defer p.Close()
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, httptest.NewRequest("GET", Path+"/"+Page, nil))
	if rec.Code != http.StatusNotImplemented || !strings.Contains(rec.Body.String(), "apt install novnc") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Whatever a path is, it never leads out of noVNC's folder, and a token never panics.
func FuzzServeHTTP(f *testing.F) {
	w := newTown(f, 1)
	f.Add("/console/vnc_auto.html", "token=x", "websocket", "http://example.com")
	f.Add("/console/../../etc/passwd", "", "", "")
	f.Add("//", "token=%zz", "WebSocket", "null")
	f.Fuzz(func(t *testing.T, path, query, upgrade, origin string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Upgrade", upgrade)
		r.Header.Set("Origin", origin)
		rec := httptest.NewRecorder()
		w.proxies[0].ServeHTTP(rec, r)
		if rec.Code == http.StatusOK && !strings.Contains("<html>noVNC</html>// RFB", rec.Body.String()) || rec.Code == http.StatusInternalServerError {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	})
}
