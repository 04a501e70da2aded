package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/node/pki"
)

// subnet gives every test loopback addresses of its own, so that tests can run beside each other and beside other clusters.
var subnet atomic.Int32

func init() { subnet.Store(int32(os.Getpid() % 60 * 4)) }

// lan is a cluster of a test: nodes in this process, with simulated hypervisors, on loopback.
type lan struct {
	t    *testing.T
	net  int32
	dirs string
}

func newLAN(t *testing.T) *lan {
	return &lan{t: t, net: subnet.Add(1) % 250, dirs: t.TempDir()}
}

func (l *lan) config(i int) Config {
	c := DefaultConfig()
	c.Bind = fmt.Sprintf("127.%d.%d.%d", 10+l.net/16, 1+l.net%16, i)
	c.Name = fmt.Sprintf("n%d", i)
	c.DataDir = filepath.Join(l.dirs, c.Name)
	c.Hypervisor.Driver = "sim"
	c.Hypervisor.Sim.BootDelay = 10 * time.Millisecond
	c.Bridges = map[string]string{"lan": "br0"}
	c.Log = slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", c.Name)
	}
	return c
}

// running is a node in this process.
type running struct {
	cfg  Config
	stop func() error // ends it, as SIGTERM would, and returns what Run returned
	done chan struct{}
}

// run runs an enrolled node until the test ends, or until stop.
func (l *lan) run(cfg Config) *running {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cfg: cfg, done: make(chan struct{})}
	var err error
	go func() { defer close(r.done); err = Run(ctx, cfg) }()
	r.stop = func() error { cancel(); <-r.done; return err }
	l.t.Cleanup(func() { r.stop() })
	return r
}

// ask calls a node's local API.
func (r *running) ask(method, path string, in, out any) error {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", SocketPath(r.cfg.DataDir))
	}}}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://node"+clusterapi.Path+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", res.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// until waits for something to become true.
func (l *lan) until(what string, f func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	l.t.Fatalf("%s: not within 30 s", what)
}

// first makes a cluster and runs its first node.
func (l *lan) first() *running {
	l.t.Helper()
	cfg := l.config(1)
	if _, err := Init(cfg); err != nil {
		l.t.Fatal(err)
	}
	r := l.run(cfg)
	l.until("the first node leads", func() bool { return r.ask(http.MethodGet, "", nil, nil) == nil })
	return r
}

func (l *lan) token(r *running, in map[string]any) string {
	l.t.Helper()
	if in == nil {
		in = map[string]any{}
	}
	var t clusterapi.Token
	if err := r.ask(http.MethodPost, "/tokens", in, &t); err != nil {
		l.t.Fatal(err)
	}
	return t.Text
}

// join adds a node through another, and runs it.
func (l *lan) join(i int, through *running) *running {
	l.t.Helper()
	cfg := l.config(i)
	if err := Join(l.t.Context(), cfg, through.cfg.Bind, l.token(through, nil)); err != nil {
		l.t.Fatal(err)
	}
	return l.run(cfg)
}

func (r *running) nodes() (map[string]clusterapi.Node, error) {
	var res struct{ Nodes []clusterapi.Node }
	err := r.ask(http.MethodGet, "/nodes", nil, &res)
	out := map[string]clusterapi.Node{}
	for _, n := range res.Nodes {
		out[n.Name] = n
	}
	return out, err
}

// votersUp tells whether a node sees so many nodes, all enabled and voting.
func (r *running) votersUp(want int) bool {
	nodes, err := r.nodes()
	n := 0
	for _, x := range nodes {
		if x.State == "up" && x.Status == "enabled" && (x.Part == "voter" || x.Part == "leader") {
			n++
		}
	}
	return err == nil && n == want
}

// Three machines become one cluster. One stops and comes back as the same node; another leaves, and may not come back.
func TestCluster_GrowsShrinksAndKeepsTheRemovedOut(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2, n3 := l.join(2, n1), l.join(3, n1)
	l.until("three voters", func() bool { return n2.votersUp(3) && n3.votersUp(3) })

	before, _ := n1.nodes()
	if err := n2.stop(); err != nil {
		t.Fatalf("stop n2: %v", err)
	}
	n2 = l.run(n2.cfg)
	l.until("n2 is back", func() bool { return n2.votersUp(3) })
	if after, _ := n2.nodes(); after["n2"].ID != before["n2"].ID {
		t.Error("a restarted node is another one")
	}

	if err := n3.ask(http.MethodDelete, "/nodes/"+string(before["n3"].ID), nil, nil); err != nil {
		t.Fatalf("leave: %v", err)
	}
	select {
	case <-n3.done:
	case <-time.After(30 * time.Second):
		t.Fatal("a node that left goes on running")
	}
	if err := n3.stop(); !errors.Is(err, errRemoved) {
		t.Errorf("the node that left ended with %v", err)
	}
	l.until("two nodes", func() bool { nodes, err := n1.nodes(); return err == nil && len(nodes) == 2 })

	again := l.run(n3.cfg)
	select {
	case <-again.done:
		if err := again.stop(); !errors.Is(err, errRemoved) {
			t.Errorf("run again, it ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		if err := again.ask(http.MethodGet, "/nodes", nil, nil); err == nil {
			t.Error("the removed node still reads from the cluster")
		}
	}
}

// The ways in which a machine may not join. Each says what is wrong, and leaves the cluster as it was.
func TestJoin_RefusesBadTokens(t *testing.T) {
	l, other := newLAN(t), newLAN(t)
	n1 := l.first()
	foreign := other.first()

	used := l.token(n1, nil)
	if err := Join(t.Context(), l.config(2), n1.cfg.Bind, used); err != nil {
		t.Fatal(err)
	}
	expired := l.token(n1, map[string]any{"ttl": "1ms"})
	time.Sleep(5 * time.Millisecond)
	withdrawn := l.token(n1, nil)
	parsed, err := pki.ParseJoinToken(withdrawn)
	if err != nil {
		t.Fatal(err)
	}
	if err := n1.ask(http.MethodDelete, "/tokens/"+string(parsed.ID), nil, nil); err != nil {
		t.Fatal(err)
	}
	guess := parsed
	guess.Secret = make([]byte, len(parsed.Secret))

	for name, c := range map[string]struct{ token, says string }{
		"used up":            {used, "used"},
		"expired":            {expired, "expired"},
		"withdrawn":          {withdrawn, "token"},
		"a guessed secret":   {guess.String(), "token"},
		"of another cluster": {other.token(foreign, nil), "another cluster"},
		"garbage":            {"kn1.garbage", "join token"},
		"empty":              {"", "join token"},
	} {
		err := Join(t.Context(), l.config(3), n1.cfg.Bind, c.token)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if nodes, err := n1.nodes(); err != nil || len(nodes) != 2 {
		t.Errorf("the cluster has %d nodes, %v", len(nodes), err)
	}
	if err := Run(t.Context(), l.config(3)); !errors.Is(err, ErrNotEnrolled) || !strings.Contains(err.Error(), "n3: ") || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("a machine that never joined runs: %v", err)
	}
}

// Enrolling twice is the same as once, with any token of the same cluster; a directory of one cluster never enters another.
func TestEnrol_TwiceIsTheSameAsOnceAndClustersNeverMix(t *testing.T) {
	l, other := newLAN(t), newLAN(t)
	n1 := l.first()
	foreign := other.first()
	cfg := l.config(2)
	token := l.token(n1, nil)
	for range 2 {
		if err := Join(t.Context(), cfg, n1.cfg.Bind, token); err != nil {
			t.Fatal(err)
		}
	}
	if err := Join(t.Context(), cfg, foreign.cfg.Bind, other.token(foreign, nil)); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("into another cluster: %v", err)
	}
	moved := cfg
	moved.Bind = l.config(9).Bind
	if err := Join(t.Context(), moved, n1.cfg.Bind, token); err == nil {
		t.Error("an enrolled node joined under another address")
	}
	if err := n1.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(n1.cfg); err != nil {
		t.Errorf("init again on its own directory: %v", err)
	}
	resumed := l.run(n1.cfg)
	l.until("the resumed node serves", func() bool { nodes, err := resumed.nodes(); return err == nil && len(nodes) == 2 })
}

// A directory belongs to one process, and a copy of it is the same node twice: the second one must not get in.
func TestRun_OneNodeIsNeverTwo(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	if err := Run(t.Context(), n1.cfg); err == nil || !strings.Contains(err.Error(), "another kilonova runs") {
		t.Errorf("a second process: %v", err)
	}
	if err := n1.stop(); err != nil {
		t.Fatal(err)
	}
	clone := l.config(7)
	if err := os.CopyFS(clone.DataDir, os.DirFS(n1.cfg.DataDir)); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), clone); err == nil || !strings.Contains(err.Error(), "--bind") {
		t.Errorf("a copy under another address: %v", err)
	}
}

// Bad settings name the flag to mend.
func TestValidate_NamesTheFlag(t *testing.T) {
	for flag, spoil := range map[string]func(*Config){
		"--bind":      func(c *Config) { c.Bind = "" },
		"--bind \"x":  func(c *Config) { c.Bind = "x" },
		"--bind 0.0":  func(c *Config) { c.Bind = "0.0.0.0" },
		"--api-tls":   func(c *Config) { c.Bind, c.APITLS = "192.0.2.1", false },
		"--voter":     func(c *Config) { c.Voter = "maybe" },
		"--driver":    func(c *Config) { c.Hypervisor.Driver = "xen" },
		"--virt-type": func(c *Config) { c.Hypervisor.VirtType = "lxc" },
		"--cpu-ratio": func(c *Config) { c.Capacity.CPU = 0 },
	} {
		c := DefaultConfig()
		c.Bind = "127.0.0.1"
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// An address that is another machine's is a slip of the finger. It must leave nothing behind: an enrolled directory would keep it.
func TestEnrol_RefusesAForeignAddressBeforeItMakesAnything(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	cfg := l.config(2)
	token := l.token(n1, nil)
	right := cfg.Bind
	cfg.Bind = "203.0.113.9"
	if _, err := Init(cfg); err == nil || !strings.HasPrefix(err.Error(), "--bind 203.0.113.9") {
		t.Errorf("init: %v", err)
	}
	if err := Join(t.Context(), cfg, n1.cfg.Bind, token); err == nil || !strings.HasPrefix(err.Error(), "--bind 203.0.113.9") {
		t.Errorf("join: %v", err)
	}
	cfg.Bind = right
	if err := Join(t.Context(), cfg, n1.cfg.Bind, token); err != nil {
		t.Errorf("join with the right address: %v", err)
	}
}

// The secrets of a node are root's alone.
func TestInit_WritesSecretsForRootAlone(t *testing.T) {
	l := newLAN(t)
	cfg := l.config(1)
	clouds, err := Init(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{clouds, filepath.Join(cfg.DataDir, peerPEM), filepath.Join(cfg.DataDir, apiPEM), filepath.Join(cfg.DataDir, identityFile)} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	info, err := os.Stat(filepath.Join(cfg.DataDir, raftDir))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the log's directory: %v, %v", info.Mode(), err)
	}
}

func TestLastLines_CutsFromTheEnd(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "c\n"}, {"a\nb\nc", 2, "b\nc"}, {"a\nb\n", 5, "a\nb\n"}, {"a\nb\n", -1, "a\nb\n"}, {"a\nb\n", 0, ""}, {"", 3, ""},
	} {
		if got := lastLines(c.in, c.n); got != c.want {
			t.Errorf("lastLines(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

func TestLastBytes_KeepsTheEnd(t *testing.T) {
	long := strings.Repeat("x", 300<<10) + "end"
	for _, r := range []io.Reader{strings.NewReader(long), io.MultiReader(strings.NewReader(long))} {
		got, err := lastBytes(r, 5)
		if err != nil || string(got) != "xxend" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}
