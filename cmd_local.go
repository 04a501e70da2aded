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

// call sends a request below /cluster/v1 and decodes the answer into out, when there is one.
func (l *local) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+clusterapi.Path+path, body)
	if err != nil {
		return err
	}
	res, err := l.http.Do(req)
	if err != nil {
		return l.explain(err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return refusal(res)
	}
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
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
