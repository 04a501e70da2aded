package consoleproxy

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Path is where a Proxy is mounted. The URLs that the compute service gives begin with it.
const Path = "/console"

// MaxSessions is how many sessions a node serves at a time.
const MaxSessions = 512

// dialTimeout bounds how long it may take to reach a guest.
const dialTimeout = 10 * time.Second

// Cluster is the replicated state, as the proxy needs it.
type Cluster interface {
	rest.Backend

	// Latest is this node's newest view, and a channel that is closed when there is a newer one.
	Latest() (*cluster.View, <-chan struct{})
}

// Dialer reaches the consoles of guests, on whichever node they are.
type Dialer interface {
	// DialConsole connects to a console. Close must end a Read or Write that is under way. Code Conflict when the guest does not
	// run, Invalid when it has no such console, Unavailable when its node does not answer.
	DialConsole(ctx context.Context, in *cluster.Instance, kind cluster.ConsoleKind) (io.ReadWriteCloser, error)
}

// Config is what a Proxy needs.
type Config struct {
	Cluster Cluster
	Dialer  Dialer
	NoVNC   fs.FS        // noVNC's files; nil: this node has none
	Log     *slog.Logger // nil: slog's default
}

// Proxy serves consoles. It is an http.Handler for everything below Path.
type Proxy struct {
	cfg   Config
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	slots chan struct{}

	mu     sync.Mutex // guards closed, and wg.Add against wg.Wait
	closed bool
	wg     sync.WaitGroup
}

// New makes a Proxy. End it with Close.
func New(c Config) *Proxy {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	p := &Proxy{cfg: c, slots: make(chan struct{}, MaxSessions)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Close ends every session, telling the clients why, and waits for them. It takes a few seconds when clients do not answer.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.wg.Wait()
}

// ServeHTTP opens a session, or serves noVNC.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isUpgrade(r) {
		p.page(w, r)
		return
	}
	if err := p.serve(w, r); err != nil {
		refuse(w, r, err)
	}
}

func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// serve opens a session and returns when it is over. An error comes before anything was upgraded.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) error {
	if !sameOrigin(r) {
		return cluster.Errorf(cluster.Forbidden, "The Origin of the request is not this node: a console is opened from the page that the node served.")
	}
	if !isHandshake(r) {
		return cluster.Errorf(cluster.Invalid, "The request is no handshake of a websocket of version 13 (RFC 6455).")
	}
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	token, in, err := p.redeem(r.Context(), r.URL.Query().Get("token"))
	if err != nil {
		return err
	}
	log := p.cfg.Log.With("request_id", rest.RequestIDOf(r), "instance", in.ID, "kind", string(token.Kind), "user", token.User)
	guest, err := p.dial(r.Context(), in, token.Kind)
	if err != nil {
		log.Warn("console could not be reached", "node", in.Node, "err", err)
		return err
	}
	defer guest.Close()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
	if err != nil { // the client was told by Accept
		log.Info("console session was not opened", "err", err)
		return nil
	}
	log.Info("console session opened", "node", in.Node)
	start := time.Now()
	s := &session{
		ws: ws, guest: guest, token: token, cluster: p.cfg.Cluster, stopping: p.ctx.Done(),
		life: token.Expires.Sub(p.cfg.Cluster.Local().Time()),
	}
	end := s.run()
	log.Info("console session ended", "why", end.reason, "took", time.Since(start), "to_client", s.sent, "to_guest", s.received)
	return nil
}

// isHandshake tells whether Accept will take a request, which must be known before its token is used up.
func isHandshake(r *http.Request) bool {
	keys := r.Header.Values("Sec-WebSocket-Key")
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || len(keys) != 1 || r.Header.Get("Sec-WebSocket-Version") != "13" {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0]))
	if err != nil || len(key) != keyBytes {
		return false
	}
	for _, word := range strings.Split(strings.Join(r.Header.Values("Connection"), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(word), "upgrade") {
			return true
		}
	}
	return false
}

// keyBytes is how long the key of a handshake is (RFC 6455, section 4.1).
const keyBytes = 16

// sameOrigin tells whether a request comes from a page of this node or from no page at all: another site's script must not be able
// to use what its visitor may.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

var (
	errFull     = cluster.Errorf(cluster.Unavailable, "This node has as many console sessions as it serves: try again later, or ask another node.")
	errStopping = cluster.Errorf(cluster.Unavailable, "This node stops: ask another node.")
)

func (p *Proxy) enter() error {
	select {
	case p.slots <- struct{}{}:
	default:
		return errFull
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		<-p.slots
		return errStopping
	}
	p.wg.Add(1)
	return nil
}

func (p *Proxy) leave() {
	<-p.slots
	p.wg.Done()
}

var errToken = cluster.Errorf(cluster.Unauthorized, "The console token is not valid, or its time is over: ask for a new one.")

// redeem uses a token up, if it is there. Only then is anything proposed: strangers' guesses do not reach the log.
func (p *Proxy) redeem(ctx context.Context, secret string) (*cluster.ConsoleToken, *cluster.Instance, error) {
	hash := HashOf(secret)
	if _, ok := p.cfg.Cluster.Local().ConsoleToken(hash); !ok { // it may have been made on another node a moment ago
		view, err := p.cfg.Cluster.Read(ctx)
		if err != nil {
			return nil, nil, err
		}
		if _, ok := view.ConsoleToken(hash); !ok {
			return nil, nil, errToken
		}
	}
	use := cluster.Command{ID: cluster.RequestID(rest.NewUUID()), Time: cluster.At(time.Now()), Op: &cluster.UseConsoleToken{Hash: hash}}
	res, err := p.cfg.Cluster.Propose(ctx, use)
	switch {
	case err != nil:
		return nil, nil, err
	case res.Err != nil:
		return nil, nil, res.Err
	}
	view := p.cfg.Cluster.Local()
	token, ok := view.ConsoleToken(hash)
	if !ok {
		return nil, nil, errToken
	}
	in, ok := view.Instance(token.Instance)
	if !ok {
		return nil, nil, cluster.Errorf(cluster.NotFound, "Instance %s could not be found.", token.Instance)
	}
	return token, in, nil
}

// HashOf is what the state keeps of a token.
func HashOf(secret string) cluster.Hash { return sha256.Sum256([]byte(secret)) }

func (p *Proxy) dial(ctx context.Context, in *cluster.Instance, kind cluster.ConsoleKind) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	guest, err := p.cfg.Dialer.DialConsole(ctx, in, kind)
	var refusal *cluster.Error
	if err != nil && !errors.As(err, &refusal) {
		err = cluster.Errorf(cluster.Unavailable, "The console of instance %s cannot be reached.", in.ID)
	}
	return guest, err
}
