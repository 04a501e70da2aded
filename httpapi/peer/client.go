package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// idleConns is how many connections to one peer are kept: as many as forward creates at the same time.
const idleConns = 64

// Client asks other nodes.
type Client struct {
	http *http.Client
	dial Dial
}

// Dial opens a connection to a node, proved to be that node.
type Dial func(ctx context.Context, node cluster.NodeID) (net.Conn, error)

// NewClient asks over connections that dial opens. The name of a node stands where a URL has its host.
func NewClient(dial Dial) *Client {
	return &Client{dial: dial, http: &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return dial(ctx, cluster.NodeID(host))
		},
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: 10 * time.Minute, // callers bring their own deadline, or are watched
	}}}
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Refresh has the next questions asked over new connections. Those of before may lead nowhere for a long time yet, after a network was cut and is
// whole again.
func (c *Client) Refresh() { c.http.CloseIdleConnections() }

// Propose asks the leader to commit a command. ErrNotLeader: nothing was changed. Another error that is no
// *cluster.Error: the outcome is unknown.
func (c *Client) Propose(ctx context.Context, leader cluster.NodeID, cmd cluster.Command) (cluster.Result, error) {
	body, err := cluster.EncodeEntry([]cluster.Command{cmd})
	if err != nil {
		return cluster.Result{}, fmt.Errorf("encode the command: %w", err)
	}
	var res cluster.Result
	err = c.call(ctx, http.MethodPost, leader, "/v1/propose", body, &res)
	return res, err
}

// Barrier asks the leader for an index that holds everything acknowledged before the call.
func (c *Client) Barrier(ctx context.Context, leader cluster.NodeID) (uint64, error) {
	var res barrierResponse
	err := c.call(ctx, http.MethodPost, leader, "/v1/barrier", nil, &res)
	return res.Index, err
}

// Lease asks the leader for this node's lease.
func (c *Client) Lease(ctx context.Context, leader cluster.NodeID) (cluster.Grant, error) {
	var grant cluster.Grant
	err := c.call(ctx, http.MethodPost, leader, "/v1/lease", nil, &grant)
	return grant, err
}

// Chunk opens a chunk of a blob on a node. The bytes are as the node sent them: verify.
func (c *Client) Chunk(ctx context.Context, node cluster.NodeID, h cluster.Hash) (io.ReadCloser, error) {
	return c.open(ctx, node, "/v1/chunks/"+h.String())
}

// Console opens a guest's console log on its node; at most the last max bytes.
func (c *Client) Console(ctx context.Context, node cluster.NodeID, id cluster.InstanceID, max int64) (io.ReadCloser, error) {
	return c.open(ctx, node, "/v1/instances/"+url.PathEscape(string(id))+"/console?max="+strconv.FormatInt(max, 10))
}

func (c *Client) call(ctx context.Context, method string, node cluster.NodeID, path string, body []byte, into any) error {
	res, err := c.do(ctx, method, node, path, body)
	if err != nil {
		return err
	}
	defer drain(res.Body)
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer of node %s to %s: %w", node, path, err)
	}
	return nil
}

func (c *Client) open(ctx context.Context, node cluster.NodeID, path string) (io.ReadCloser, error) {
	watch, ctx := newWatch(ctx, node)
	res, err := c.do(ctx, http.MethodGet, node, path, nil)
	if err != nil {
		return nil, watch.stop(err)
	}
	return watch.over(res.Body), nil
}

// do sends a request and turns every status but 2xx into an error.
func (c *Client) do(ctx context.Context, method string, node cluster.NodeID, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+string(node)+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer drain(res.Body)
	if res.StatusCode == http.StatusMisdirectedRequest {
		return nil, ErrNotLeader
	}
	return nil, refusalOf(res, node)
}

func refusalOf(res *http.Response, node cluster.NodeID) error {
	refusal := &cluster.Error{}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxRequestBytes)).Decode(refusal); err != nil || refusal.Code == "" {
		return fmt.Errorf("ask node %s: it answered %s", node, res.Status)
	}
	return refusal
}

// drain empties and closes a body, so that its connection can be used again.
func drain(b io.ReadCloser) {
	io.Copy(io.Discard, io.LimitReader(b, maxRequestBytes))
	b.Close()
}

// Join asks a node of a cluster to admit this machine, over a connection that has proved the cluster.
func Join(ctx context.Context, conn net.Conn, r JoinRequest) (JoinResponse, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return JoinResponse{}, err
	}
	var out JoinResponse
	if err := once(ctx, conn, http.MethodPost, "/v1/join", body, &out); err != nil {
		return JoinResponse{}, fmt.Errorf("ask to join: %w", err)
	}
	return out, nil
}

// StandingOf asks a node whether another one is a member, and where, over a connection that has proved the cluster.
func StandingOf(ctx context.Context, conn net.Conn, id cluster.NodeID) (Standing, error) {
	var out Standing
	if err := once(ctx, conn, http.MethodGet, "/v1/nodes/"+url.PathEscape(string(id))+"/standing", nil, &out); err != nil {
		return out, fmt.Errorf("ask for the standing of node %s: %w", id, err)
	}
	return out, nil
}

// once sends one request over a connection, which it uses up.
func once(ctx context.Context, conn net.Conn, method, path string, body []byte, into any) error {
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://join"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer drain(res.Body)
	if res.StatusCode != http.StatusOK {
		return refusalOf(res, "at the join port")
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
