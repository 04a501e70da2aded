package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/node"
)

// local asks the node that runs on this machine, over the socket that only root can open.
type local struct {
	path string
	http http.Client
}

func newLocal(dataDir string) *local {
	path := node.SocketPath(dataDir)
	return &local{path: path, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
}

// look reads below /cluster/v1. When no quorum answers, which is when an operator has to see who is there, it reads what
// the node on this machine knew last, and says so on notes.
func (l *local) look(ctx context.Context, notes io.Writer, path string, out any) error {
	err := l.call(ctx, http.MethodGet, path, nil, out)
	var no *refused
	if !errors.As(err, &no) || no.status != http.StatusServiceUnavailable {
		return err
	}
	header, err := l.send(ctx, http.MethodGet, path, nil, out, consistency, "stale")
	if err != nil {
		return err
	}
	age := ""
	if seconds := header.Get(lag); seconds != "" {
		age = ", " + seconds + " s ago"
	}
	fmt.Fprintf(notes, "No quorum answers, so nothing can be changed. This is what the node on this machine knew last%s:\n", age)
	return nil
}

// call sends a request below /cluster/v1 and decodes the answer into out, when there is one.
func (l *local) call(ctx context.Context, method, path string, in, out any) error {
	_, err := l.send(ctx, method, path, in, out)
	return err
}

// send is call with further headers, in pairs, and gives those of the answer.
func (l *local) send(ctx context.Context, method, path string, in, out any, headers ...string) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+clusterapi.Path+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := l.http.Do(req)
	if err != nil {
		return nil, l.explain(err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return nil, refusal(res)
	}
	if out == nil || res.StatusCode == http.StatusNoContent {
		return res.Header, nil
	}
	return res.Header, json.NewDecoder(res.Body).Decode(out)
}

// explain says what to do when the socket does not answer.
func (l *local) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no node runs on this machine with %s: start it with `kilonova node run`, or name its --data-dir", l.path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s is root's: run this command as root", l.path)
	}
	return err
}

// refusal reads an error of Nova's shape: {"conflictingRequest": {"code": 409, "message": "..."}}.
func refusal(res *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	return &refused{status: res.StatusCode, message: errorMessage(b, res.StatusCode)}
}
