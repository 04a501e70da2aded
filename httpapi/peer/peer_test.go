package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// fake is a node that serves its peers. What is nil is not asked for in a test.
type fake struct {
	propose func(context.Context, cluster.Command) (cluster.Result, error)
	barrier func(context.Context) (uint64, error)
	chunk   func(context.Context, cluster.Hash) (io.ReadCloser, error)
	pull    func(ctx context.Context, root cluster.Hash, from []cluster.NodeID) error
	console func(ctx context.Context, id cluster.InstanceID, max int64) (io.ReadCloser, error)
}

func (f *fake) ProposeHere(ctx context.Context, c cluster.Command) (cluster.Result, error) {
	return f.propose(ctx, c)
}

func (f *fake) RenewHere(_ context.Context, node cluster.NodeID) (cluster.Grant, error) {
	return cluster.Grant{Index: 7, Stop: time.Second}, f.refusal(node)
}

// refusal is what a node without a name gets: it has proved nothing.
func (f *fake) refusal(node cluster.NodeID) error {
	if node == "" {
		return cluster.Errorf(cluster.Forbidden, "who asks?")
	}
	return nil
}

func (f *fake) BarrierHere(ctx context.Context) (uint64, error) { return f.barrier(ctx) }

func (f *fake) Chunk(ctx context.Context, h cluster.Hash) (io.ReadCloser, error) {
	return f.chunk(ctx, h)
}

func (f *fake) Pull(ctx context.Context, root cluster.Hash, from []cluster.NodeID) error {
	return f.pull(ctx, root, from)
}

func (f *fake) Console(ctx context.Context, id cluster.InstanceID, max int64) (io.ReadCloser, error) {
	return f.console(ctx, id, max)
}

func (f *fake) router() http.Handler {
	return Router(Services{Agreement: f, Blobs: f, Consoles: f, Log: slog.New(slog.DiscardHandler)})
}

// pair gives a client whose every node is f, over connections in memory. It runs in virtual time.
func pair(t *testing.T, f *fake) *Client {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: f.router(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go func() { _ = srv.Serve(l) }()
	c := NewClient(l.dial)
	t.Cleanup(func() {
		c.Close()
		_ = srv.Close()
	})
	return c
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipes) dial(ctx context.Context, node cluster.NodeID) (net.Conn, error) {
	if node == "gone" {
		return nil, errors.New("no route")
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { close(l.done); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func someCommand() cluster.Command {
	return cluster.Command{ID: "r1", Time: 7, Op: &cluster.DeleteFlavor{ID: "f1"}}
}

// A command crosses as it is, and so do its result, a refusal in it, a refusal of the whole, and that the node does not lead.
func TestPropose_CrossesWithItsAnswer(t *testing.T) {
	refusal := cluster.Errorf(cluster.NoRoom, "no room for %q", "web\n1")
	for name, x := range map[string]struct {
		res cluster.Result
		err error
	}{
		"done":         {res: cluster.Result{IDs: []string{"f1"}}},
		"refused":      {res: cluster.Result{Err: refusal}},
		"unavailable":  {err: cluster.Errorf(cluster.Unavailable, "leadership was lost")},
		"not a leader": {err: ErrNotLeader},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got cluster.Command
				c := pair(t, &fake{propose: func(_ context.Context, c cluster.Command) (cluster.Result, error) {
					got = c
					return x.res, x.err
				}})
				res, err := c.Propose(t.Context(), "n1", someCommand())
				if op, ok := got.Op.(*cluster.DeleteFlavor); !ok || op.ID != "f1" || got.ID != "r1" || got.Time != 7 {
					t.Errorf("the command arrived as %+v", got)
				}
				if errors.Is(x.err, ErrNotLeader) != errors.Is(err, ErrNotLeader) || cluster.CodeOf(err) != cluster.CodeOf(x.err) {
					t.Errorf("the error %v arrived as %v", x.err, err)
				}
				if err == nil && (len(res.IDs) != len(x.res.IDs) || (res.Err == nil) != (x.res.Err == nil) || res.Err != nil && *res.Err != *x.res.Err) {
					t.Errorf("the result %+v arrived as %+v", x.res, res)
				}
				c.Close()
			})
		})
	}
}

// Every code that there is crosses as itself, with its message; an error without a code is a fault of that node, which is not the same as
// not knowing.
func TestRefusals_CrossAsCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var say error
		c := pair(t, &fake{barrier: func(context.Context) (uint64, error) { return 0, say }})
		for _, code := range []cluster.Code{
			cluster.Invalid, cluster.Unauthorized, cluster.Forbidden, cluster.NotFound, cluster.Conflict, cluster.Stale, cluster.OverQuota,
			cluster.NoRoom, cluster.TooLarge, cluster.Unavailable, cluster.Internal,
		} {
			say = cluster.Errorf(code, "because of <%s>", code)
			var got *cluster.Error
			if _, err := c.Barrier(t.Context(), "n1"); !errors.As(err, &got) || *got != *cluster.Errorf(code, "because of <%s>", code) {
				t.Errorf("%s arrived as %v", code, err)
			}
		}
		say = errors.New("disk on fire")
		if _, err := c.Barrier(t.Context(), "n1"); cluster.CodeOf(err) != cluster.Internal || !strings.Contains(err.Error(), "disk on fire") {
			t.Errorf("an error without a code arrived as %v", err)
		}
		if _, err := c.Barrier(t.Context(), "gone"); err == nil || errors.As(err, new(*cluster.Error)) || !strings.Contains(err.Error(), "node gone") {
			t.Errorf("a node that cannot be reached: %v", err)
		}
		c.Close()
	})
}

// An index crosses, also one that no float holds.
func TestBarrier_GivesTheIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pair(t, &fake{barrier: func(context.Context) (uint64, error) { return 1<<63 + 1, nil }})
		if index, err := c.Barrier(t.Context(), "n1"); index != 1<<63+1 || err != nil {
			t.Errorf("%d, %v", index, err)
		}
		c.Close()
	})
}

// broken gives some bytes and then an error.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errors.New("read error")
	}
	return n, err
}

// Bytes cross as they are. When they break off at their source, the reader must not take it for the end.
func TestStreams_EndOnlyWhenTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := bytes.Repeat([]byte("0123456789"), 10_000)
		f := &fake{
			chunk: func(_ context.Context, h cluster.Hash) (io.ReadCloser, error) {
				if h != (cluster.Hash{1}) {
					return nil, cluster.Errorf(cluster.NotFound, "no chunk")
				}
				return io.NopCloser(bytes.NewReader(data)), nil
			},
			console: func(_ context.Context, id cluster.InstanceID, max int64) (io.ReadCloser, error) {
				if id != "i 1" || max != 1<<20 {
					t.Errorf("asked for %q, %d", id, max)
				}
				return io.NopCloser(broken{bytes.NewReader(data)}), nil
			},
		}
		c := pair(t, f)
		r, err := c.Chunk(t.Context(), "n1", cluster.Hash{1})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Chunk(t.Context(), "n1", cluster.Hash{2}); cluster.CodeOf(err) != cluster.NotFound {
			t.Errorf("a chunk that is not there: %v", err)
		}
		r, err = c.Console(t.Context(), "n1", "i 1", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err == nil {
			t.Errorf("%d bytes of a stream that broke off look like all", len(got))
		}
		_ = r.Close()
		c.Close()
	})
}

// What no client of ours sends is refused with a reason, and reaches nobody.
func TestRouter_RefusesWhatIsNoRequest(t *testing.T) {
	h := (&fake{}).router() // any call would be a panic
	hash := strings.Repeat("0", 64)
	two, err := cluster.EncodeEntry([]cluster.Command{someCommand(), someCommand()})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ method, path, body string }{
		{"POST", "/v1/propose", ""}, {"POST", "/v1/propose", "{}"}, {"POST", "/v1/propose", string(two)}, {"POST", "/v1/propose", strings.Repeat("x", 9<<20)},
		{"GET", "/v1/chunks/zz", ""}, {"GET", "/v1/chunks/" + hash + "00", ""}, {"GET", "/v1/chunks/..%2f..", ""},
		{"POST", "/v1/blobs/zz/pull", "{}"}, {"POST", "/v1/blobs/" + hash + "/pull", ""}, {"POST", "/v1/blobs/" + hash + "/pull", `{"from":3}`},
		{"POST", "/v1/blobs/" + hash + "/pull", `{"from":["` + strings.Repeat("x", 2<<20) + `"]}`},
		{"GET", "/v1/instances/i/console", ""}, {"GET", "/v1/instances/i/console?max=-1", ""}, {"GET", "/v1/instances/i/console?max=lots", ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(x.method, x.path, strings.NewReader(x.body)))
		if err := refusalOf(w.Result(), "n1"); w.Code != http.StatusUnprocessableEntity || cluster.CodeOf(err) != cluster.Invalid {
			t.Errorf("%s %s: %d %v", x.method, x.path, w.Code, err)
		}
	}
	for _, route := range []string{"GET /v1/propose", "GET /", "POST /v1/join", "GET /v1/nodes/x/standing", "PUT /v1/barrier"} {
		method, path, _ := strings.Cut(route, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", route, w.Code)
		}
	}
}

// An answer that is no refusal of ours, as of something else that listens there, is an error without a code.
func TestRefusal_OfSomethingElseHasNoCode(t *testing.T) {
	for _, body := range []string{"", "<html>", "{}", `{"code":""}`, `[]`, `{"code":3}`} {
		res := &http.Response{StatusCode: http.StatusBadGateway, Status: "502 Bad Gateway", Body: io.NopCloser(strings.NewReader(body))}
		if err := refusalOf(res, "n1"); errors.As(err, new(*cluster.Error)) || !strings.Contains(err.Error(), "502") {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// FuzzRouter sends anything to each route. It is answered, and never makes the node panic.
func FuzzRouter(f *testing.F) {
	entry, err := cluster.EncodeEntry([]cluster.Command{someCommand()})
	if err != nil {
		f.Fatal(err)
	}
	hash := strings.Repeat("ab", 32)
	for path, body := range map[string][]byte{
		"propose": entry, "barrier": nil, "chunks/" + hash: nil, "blobs/" + hash + "/pull": []byte(`{"from":["n1"]}`), "instances/i/console": {0xff},
	} {
		f.Add(path, body)
	}
	some := &fake{
		propose: func(context.Context, cluster.Command) (cluster.Result, error) { return cluster.Result{}, nil },
		barrier: func(context.Context) (uint64, error) { return 1, nil },
		chunk: func(context.Context, cluster.Hash) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("x")), nil
		},
		pull: func(context.Context, cluster.Hash, []cluster.NodeID) error { return nil },
		console: func(context.Context, cluster.InstanceID, int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("x")), nil
		},
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			req := httptest.NewRequest(method, "/", bytes.NewReader(body))
			req.URL.Path = "/v1/" + path
			w := httptest.NewRecorder()
			some.router().ServeHTTP(w, req)
			if w.Code >= http.StatusInternalServerError {
				t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
			}
		}
	})
}

// FuzzRefusal reads anything as a peer's refusal.
func FuzzRefusal(f *testing.F) {
	for _, seed := range []string{"", `{"code":"not_found","message":"x"}`, `{"code":1}`, "[", "\xff", strings.Repeat("[", 10_000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		res := &http.Response{StatusCode: http.StatusUnprocessableEntity, Status: "422", Body: io.NopCloser(strings.NewReader(body))}
		if refusalOf(res, "n1") == nil {
			t.Error("a refusal was taken for none")
		}
	})
}

// A node is asked to fetch a large blob, which takes it longer than a silent peer has. It says that it is at it, and is waited for.
func TestPull_WaitsForANodeThatIsAtIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := cluster.Errorf(cluster.NoRoom, "the disk is full")
		for name, want := range map[string]error{"done": nil, "full": full} {
			c := pair(t, &fake{pull: func(_ context.Context, root cluster.Hash, from []cluster.NodeID) error {
				if root != (cluster.Hash{9}) || len(from) != 2 || from[1] != "n3" {
					t.Errorf("asked for %v from %v", root, from)
				}
				time.Sleep(20 * stallTime)
				return want
			}})
			start := time.Now()
			err := c.Pull(t.Context(), "n1", cluster.Hash{9}, []cluster.NodeID{"n2", "n3"})
			if cluster.CodeOf(err) != cluster.CodeOf(want) || (err == nil) != (want == nil) || time.Since(start) < 20*stallTime {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			c.Close()
		}
		c := pair(t, &fake{pull: func(context.Context, cluster.Hash, []cluster.NodeID) error { return errors.New("broken") }})
		if err := c.Pull(t.Context(), "n1", cluster.Hash{9}, nil); cluster.CodeOf(err) != cluster.Internal {
			t.Errorf("a fault of the node: %v", err)
		}
		c.Close()
	})
}

// A node was stopped where it stands, as with SIGSTOP: its kernel still takes what it is sent. Nobody waits for it for minutes, whatever it
// was asked for, whether it had begun to answer or not.
func TestAsk_GivesAFrozenNodeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frozen := func(begin string) *Client {
			return NewClient(func(context.Context, cluster.NodeID) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					_, _ = theirs.Read(make([]byte, 4096))
					_, _ = io.WriteString(theirs, begin)
					_, _ = io.Copy(io.Discard, theirs)
				}()
				return ours, nil
			})
		}
		const begun = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\n\n"
		for _, begin := range []string{"", begun} {
			c := frozen(begin)
			for name, ask := range map[string]func() error{
				"pull": func() error { return c.Pull(t.Context(), "n1", cluster.Hash{9}, nil) },
				"chunk": func() error {
					r, err := c.Chunk(t.Context(), "n1", cluster.Hash{9})
					if err != nil {
						return err
					}
					defer r.Close()
					time.Sleep(3 * stallTime) // who reads may take its time
					if _, err := r.Read(make([]byte, 1)); err != nil {
						t.Errorf("bytes that had come: %v", err)
					}
					_, err = io.ReadAll(r)
					return err
				},
			} {
				start := time.Now()
				if err := ask(); err == nil || !strings.Contains(err.Error(), "node n1 has sent nothing for 15s") || time.Since(start) > 5*stallTime {
					t.Errorf("%s of a node that sent %q: %v after %v", name, begin, err, time.Since(start))
				}
			}
			c.Close()
		}
	})
}

// Who asked for a blob goes away. The node stops fetching.
func TestPull_EndsWithTheAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		c := pair(t, &fake{pull: func(ctx context.Context, _ cluster.Hash, _ []cluster.NodeID) error {
			defer close(ended)
			<-ctx.Done()
			return ctx.Err()
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Pull(ctx, "n1", cluster.Hash{9}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-ended
		c.Close()
	})
}
