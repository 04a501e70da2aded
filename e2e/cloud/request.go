package cloud

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Request is one call of the API.
type Request struct {
	Method string // "": GET
	Path   string // from the root, with its query
	Header map[string]string
	Body   any    // encoded as JSON; []byte and io.Reader are sent as they are; nil: nothing
	Token  string // "": the administrator's

	Timeout time.Duration // 0: 15 s
}

// Answer is what a node replied.
type Answer struct {
	Method, URL string
	Status      int
	Header      http.Header
	Body        []byte // at most 16 MiB of it
}

// Want returns an error with the whole answer unless its status is one of those.
func (a Answer) Want(status ...int) error {
	for _, s := range status {
		if a.Status == s {
			return nil
		}
	}
	return fmt.Errorf("%s %s: status %d, want %d: %.500s", a.Method, a.URL, a.Status, status, a.Body)
}

// Into decodes the body.
func (a Answer) Into(v any) error {
	if err := json.Unmarshal(a.Body, v); err != nil {
		return fmt.Errorf("read answer of %s %s: %w: %.500s", a.Method, a.URL, err, a.Body)
	}
	return nil
}

// Ask sends a request to one node, once, and returns whatever it answers; an error means that there was no answer.
func (c *Cloud) Ask(ctx context.Context, via *Node, r Request) (Answer, error) {
	mine := r.Token == ""
	if mine {
		token, err := c.Login(ctx, via)
		if err != nil {
			return Answer{}, err
		}
		r.Token = token
	}
	a, err := c.clients.send(ctx, via.URL(), r)
	if err == nil && a.Status == http.StatusUnauthorized && mine {
		c.clients.forget(r.Token)
	}
	return a, err
}

// Get reads a JSON resource of one node's API as the administrator.
func (c *Cloud) Get(ctx context.Context, via *Node, path string, into any) error {
	return c.Do(ctx, via, Request{Path: path}, into, http.StatusOK)
}

// Do sends a request that has to succeed with one of the given statuses, and decodes the answer unless into is nil.
func (c *Cloud) Do(ctx context.Context, via *Node, r Request, into any, status ...int) error {
	a, err := c.Ask(ctx, via, r)
	if err != nil {
		return err
	}
	if err := a.Want(status...); err != nil || into == nil {
		return err
	}
	return a.Into(into)
}

// Login returns a token of the administrator, made by the given node or an earlier one.
func (c *Cloud) Login(ctx context.Context, via *Node) (string, error) {
	return c.clients.login(ctx, via.URL())
}

// send sends a request to the node at base.
func (c *clients) send(ctx context.Context, base string, r Request) (Answer, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.Timeout, requestTimeout))
	defer cancel()
	body, err := r.reader()
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, r.Path, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+r.Path, body)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, r.Path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Token != "" {
		req.Header.Set("X-Auth-Token", r.Token)
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer of %s: %w", req.URL, err)
	}
	return Answer{Method: method, URL: req.URL.String(), Status: resp.StatusCode, Header: resp.Header, Body: text}, nil
}

func (r Request) reader() (io.Reader, error) {
	switch b := r.Body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return bytes.NewReader(b), nil
	case io.Reader:
		return b, nil
	}
	text, err := json.Marshal(r.Body)
	return bytes.NewReader(text), err
}
