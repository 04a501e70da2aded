package crash

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"gopkg.in/yaml.v3"
)

const (
	tryTimeout   = 8 * time.Second // a node answers within 5 seconds, whatever happens
	askTimeout   = time.Minute
	askPause     = 100 * time.Millisecond
	microversion = "compute 2.90, volume 3.59"
	maxAnswer    = 16 << 20
)

// client asks whichever node answers. What it does not know the outcome of, it asks again under the same key. It is safe for
// concurrent use once it is logged in.
type client struct {
	town    *town
	http    *http.Client
	token   string
	project string
	next    atomic.Int64
}

func newClient(t *town) *client { return &client{town: t} }

func (c *client) close() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// logIn reads clouds.yaml and gets a token.
func (c *client) logIn(ctx context.Context, cloudsFile string) error {
	text, err := os.ReadFile(cloudsFile)
	if err != nil {
		return err
	}
	var file struct {
		Clouds map[string]struct {
			Auth   struct{ Username, Password string }
			CACert string
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("read clouds.yaml: %w", err)
	}
	cloud := file.Clouds["kilonova"]
	ca, err := os.ReadFile(cloud.CACert)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c.http = &http.Client{Timeout: tryTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	domain := map[string]any{"id": "default"}
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
			"name": cloud.Auth.Username, "password": cloud.Auth.Password, "domain": domain}}},
		"scope": map[string]any{"project": map[string]any{"name": "admin", "domain": domain}},
	}}
	var got struct {
		Token struct{ Project struct{ ID string } }
	}
	header, err := c.try(ctx, c.town.peers[0], request{http.MethodPost, "/identity/v3/auth/tokens", body, ""}, &got)
	if err != nil {
		return err
	}
	c.token, c.project = header.Get("X-Subject-Token"), got.Token.Project.ID
	return nil
}

// request is one call of the API.
type request struct {
	method, path string
	body         any    // []byte is sent as it is
	key          string // under which it is repeated
}

// refused is an answer that says no.
type refused struct {
	status int
	text   string
}

// Error says what was answered.
func (r *refused) Error() string { return fmt.Sprintf("%d %.400s", r.status, r.text) }

// notYet is what is said of a server's node, or of one that it is to go to, that was killed a moment ago for another play's sake and is not back: with
// 409, and with 400 of a live migration.
const notYet = "is unavailable at this time"

// unknown tells whether the answer leaves open what was done, or says to come again.
func (r *refused) unknown() bool {
	return (r.status == http.StatusConflict || r.status == http.StatusBadRequest) && strings.Contains(r.text, notYet) ||
		r.status == http.StatusServiceUnavailable || r.status == http.StatusGatewayTimeout || r.status == http.StatusBadGateway
}

// ask asks one node after the other until one knows. The answer is decoded into into, unless that is nil. A refusal is a *refused.
func (c *client) ask(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r := request{method, path, body, ""}
	if method != http.MethodGet {
		r.key = rand.Text()
	}
	for {
		via := c.town.peers[int(c.next.Add(1))%len(c.town.peers)]
		_, err := c.try(ctx, via, r, into)
		no, answered := err.(*refused)
		if err == nil || answered && !no.unknown() {
			return err
		}
		if !pause(ctx, askPause) {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
}

// try asks one node once.
func (c *client) try(ctx context.Context, via *peer, r request, into any) (http.Header, error) {
	content, kind := []byte(nil), "application/json"
	switch b := r.body.(type) {
	case nil:
	case []byte:
		content, kind = b, "application/octet-stream"
	default:
		var err error
		if content, err = json.Marshal(b); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, via.url()+r.path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Auth-Token", c.token)
	req.Header.Set("OpenStack-API-Version", microversion)
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, &refused{resp.StatusCode, string(answer)}
	}
	if into == nil {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(answer, into)
}

func (c *client) get(ctx context.Context, path string, into any) error {
	return c.ask(ctx, http.MethodGet, path, nil, into)
}

func (c *client) post(ctx context.Context, path string, body, into any) error {
	return c.ask(ctx, http.MethodPost, path, body, into)
}

func (c *client) nodes(ctx context.Context) ([]audit.Machine, error) {
	var got struct{ Nodes []audit.Machine }
	err := c.get(ctx, "/cluster/v1/nodes", &got)
	return got.Nodes, err
}

// nodesAt gives the nodes as one of them sees them.
func (c *client) nodesAt(ctx context.Context, via *peer) ([]audit.Machine, error) {
	var got struct{ Nodes []audit.Machine }
	_, err := c.try(ctx, via, request{method: http.MethodGet, path: "/cluster/v1/nodes"}, &got)
	return got.Nodes, err
}

func (c *client) server(ctx context.Context, id string) (*audit.Server, error) {
	var got struct{ Server audit.Server }
	err := c.get(ctx, "/compute/v2.1/servers/"+id, &got)
	return &got.Server, err
}
