package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	requestTimeout = time.Minute
	cloudName      = "kilonova"
	microversion   = "compute 2.90"
)

// client talks to one node over connections that it keeps. It is safe for concurrent use once it is logged in.
type client struct {
	http  *http.Client
	url   string
	cloud cloudEntry
	token string
	user  string // ID of who is logged in
	where string // ID of the project
}

// cloudEntry is what a cluster's clouds.yaml says.
type cloudEntry struct {
	Auth struct {
		Username string `yaml:"username"`
		Password string `yaml:"password"`
		Project  string `yaml:"project_name"`
	} `yaml:"auth"`
	CACert string `yaml:"cacert"`
	roots  *x509.CertPool
}

func newClient(clouds []byte, url string) (*client, error) {
	var file struct {
		Clouds map[string]cloudEntry `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(clouds, &file); err != nil {
		return nil, fmt.Errorf("read clouds.yaml: %w", err)
	}
	entry, ok := file.Clouds[cloudName]
	if !ok {
		return nil, fmt.Errorf("read clouds.yaml: it has no cloud %s", cloudName)
	}
	ca, err := os.ReadFile(entry.CACert)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	entry.roots = x509.NewCertPool()
	if !entry.roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read the CA: %s holds no certificate", entry.CACert)
	}
	return (&client{cloud: entry}).at(url), nil
}

// at gives a client of the same login at another node, with a connection of its own.
func (c *client) at(url string) *client {
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: c.cloud.roots, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 1,
	}
	other := *c
	other.url, other.http = url, &http.Client{Transport: transport, Timeout: requestTimeout}
	return &other
}

func (c *client) close() { c.http.CloseIdleConnections() }

// logIn gets a token for a project, named by its ID; "": the one that clouds.yaml names.
func (c *client) logIn(ctx context.Context, project string) error {
	domain := map[string]any{"name": "Default"}
	scope := map[string]any{"id": project}
	if project == "" {
		scope = map[string]any{"name": c.cloud.Auth.Project, "domain": domain}
	}
	user := map[string]any{"name": c.cloud.Auth.Username, "password": c.cloud.Auth.Password, "domain": domain}
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": user}},
		"scope":    map[string]any{"project": scope},
	}}
	var answer struct {
		Token struct {
			User    struct{ ID string }
			Project struct{ ID string }
		}
	}
	header, err := c.send(ctx, http.MethodPost, "/identity/v3/auth/tokens", body, &answer)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	c.token, c.user, c.where = header.Get("X-Subject-Token"), answer.Token.User.ID, answer.Token.Project.ID
	return nil
}

func (c *client) get(ctx context.Context, path string, into any) error {
	_, err := c.send(ctx, http.MethodGet, path, nil, into)
	return err
}

func (c *client) post(ctx context.Context, path string, body, into any) error {
	_, err := c.send(ctx, http.MethodPost, path, body, into)
	return err
}

func (c *client) put(ctx context.Context, path string, body any) error {
	_, err := c.send(ctx, http.MethodPut, path, body, nil)
	return err
}

func (c *client) delete(ctx context.Context, path string) error {
	_, err := c.send(ctx, http.MethodDelete, path, nil, nil)
	return err
}

// send sends JSON, or bytes as they are, and reads the answer into into, unless that is nil.
func (c *client) send(ctx context.Context, method, path string, body, into any) (http.Header, error) {
	content, kind := []byte(nil), "application/json"
	switch b := body.(type) {
	case nil:
	case []byte:
		content, kind = b, "application/octet-stream"
	default:
		var err error
		if content, err = json.Marshal(b); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Auth-Token", c.token)
	req.Header.Set("OpenStack-API-Version", microversion)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, answer)
	}
	if into == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return resp.Header, nil
}
