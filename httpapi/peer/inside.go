package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// Inside reaches into the guests of this node. Codes: NotFound when this node has no such guest, Conflict when it does not run,
// Unsupported when the hypervisor or the guest cannot do it, Unavailable when the hypervisor does not answer.
type Inside interface {
	// Dial connects to a console.
	Dial(ctx context.Context, id cluster.InstanceID, kind cluster.ConsoleKind) (net.Conn, error)

	// Diagnostics tells what a running guest uses.
	Diagnostics(ctx context.Context, id cluster.InstanceID) (cluster.Diagnostics, error)

	// SetPassword sets a user's password through the guest's agent.
	SetPassword(ctx context.Context, id cluster.InstanceID, user, password string) error

	// Crash sends the guest a non-maskable interrupt.
	Crash(ctx context.Context, id cluster.InstanceID) error
}

// streamProtocol is what a connection becomes that carries a console: bytes, both ways, until either side closes it.
const streamProtocol = "kilonova-console/1"

// insideRoutes serves what peers ask of this node's guests.
func (s *server) insideRoutes(r chi.Router) {
	r.Get("/v1/instances/{id}/consoles/{kind}", s.console101)
	r.Get("/v1/instances/{id}/diagnostics", s.diagnostics)
	r.Post("/v1/instances/{id}/password", s.setPassword)
	r.Post("/v1/instances/{id}/crash", s.crash)
}

func instanceOf(r *http.Request) cluster.InstanceID {
	return cluster.InstanceID(chi.URLParam(r, "id"))
}

// console101 connects a peer to a console of a guest, and returns when either has gone.
func (s *server) console101(w http.ResponseWriter, r *http.Request) {
	s.takeOver(w, r, streamProtocol, func() (net.Conn, error) {
		return s.Inside.Dial(r.Context(), instanceOf(r), cluster.ConsoleKind(chi.URLParam(r, "kind")))
	}, join)
}

// join passes bytes on between two connections until one of them ends, and closes both.
func join(a, b net.Conn) {
	var wg sync.WaitGroup
	pass := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from) // either end's going is the end
		a.Close()
		b.Close()
	}
	wg.Go(func() { pass(a, b) })
	wg.Go(func() { pass(b, a) })
	wg.Wait()
}

func (s *server) diagnostics(w http.ResponseWriter, r *http.Request) {
	d, err := s.Inside.Diagnostics(r.Context(), instanceOf(r))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	reply(w, d)
}

type passwordRequest struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

func (s *server) setPassword(w http.ResponseWriter, r *http.Request) {
	var req passwordRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes)).Decode(&req); err != nil {
		fail(w, s.Log, cluster.Errorf(cluster.Invalid, "read the request for a password: it is not what it should be"))
		return
	}
	if err := s.Inside.SetPassword(r.Context(), instanceOf(r), req.User, req.Password); err != nil {
		fail(w, s.Log, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) crash(w http.ResponseWriter, r *http.Request) {
	if err := s.Inside.Crash(r.Context(), instanceOf(r)); err != nil {
		fail(w, s.Log, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func instancePath(id cluster.InstanceID, rest string) string {
	return "/v1/instances/" + url.PathEscape(string(id)) + "/" + rest
}

// DialConsole connects to a console of a guest on another node. ctx bounds the connecting only. Close ends a Read or Write that is
// under way.
func (c *Client) DialConsole(ctx context.Context, node cluster.NodeID, id cluster.InstanceID, kind cluster.ConsoleKind) (io.ReadWriteCloser, error) {
	path := instancePath(id, "consoles/"+url.PathEscape(string(kind)))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(node)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", streamProtocol)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if stream, ok := res.Body.(io.ReadWriteCloser); ok {
			return stream, nil
		}
	}
	defer drain(res.Body)
	return nil, refusalOf(res, node)
}

// Diagnostics asks a node what one of its guests uses.
func (c *Client) Diagnostics(ctx context.Context, node cluster.NodeID, id cluster.InstanceID) (cluster.Diagnostics, error) {
	var d cluster.Diagnostics
	err := c.call(ctx, http.MethodGet, node, instancePath(id, "diagnostics"), nil, &d)
	return d, err
}

// SetPassword asks a node to set a user's password in one of its guests.
func (c *Client) SetPassword(ctx context.Context, node cluster.NodeID, id cluster.InstanceID, user, password string) error {
	body, err := json.Marshal(passwordRequest{user, password})
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, node, instancePath(id, "password"), body, nil)
}

// Crash asks a node to send one of its guests a non-maskable interrupt.
func (c *Client) Crash(ctx context.Context, node cluster.NodeID, id cluster.InstanceID) error {
	return c.call(ctx, http.MethodPost, node, instancePath(id, "crash"), nil, nil)
}
