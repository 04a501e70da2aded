package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// beatEvery is how often a node that fetches a blob says that it is at it, so that it is not taken for one that hangs.
const beatEvery = 3 * time.Second

// pullRequest names the nodes that have the blob.
type pullRequest struct {
	From []cluster.NodeID `json:"from"`
}

// pullResult ends the answer to a pull, after white space for each beat.
type pullResult struct {
	Error *cluster.Error `json:"error,omitempty"`
}

// Pull asks a node to fetch a blob from others, and waits until it has it, for as long as that node says that it is at it.
func (c *Client) Pull(ctx context.Context, node cluster.NodeID, root cluster.Hash, from []cluster.NodeID) error {
	body, err := json.Marshal(pullRequest{from})
	if err != nil {
		return err
	}
	watch, ctx := newWatch(ctx, node)
	res, err := c.do(ctx, http.MethodPost, node, "/v1/blobs/"+root.String()+"/pull", body)
	if err != nil {
		return watch.stop(err)
	}
	answer := watch.over(res.Body)
	defer answer.Close()
	var out pullResult
	if err := json.NewDecoder(io.LimitReader(answer, maxRequestBytes)).Decode(&out); err != nil {
		return fmt.Errorf("wait for node %s to fetch a blob: %w", node, err)
	}
	if out.Error != nil {
		return out.Error
	}
	return nil
}

func (s *server) pull(w http.ResponseWriter, r *http.Request) {
	root, err := parseHash(chi.URLParam(r, "root"))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	var req pullRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes)).Decode(&req); err != nil {
		fail(w, s.Log, cluster.Errorf(cluster.Invalid, "read the pull request: %v", err))
		return
	}
	var out pullResult
	if err := s.pulled(w, r, root, req.From); err != nil && !errors.As(err, &out.Error) {
		s.Log.Warn("answer a peer", "err", err)
		out.Error = cluster.Errorf(cluster.Internal, "%v", err)
	}
	reply(w, out)
}

// pulled fetches the blob, and writes a beat now and then. It returns when the fetch has ended, also when the peer has gone.
func (s *server) pulled(w http.ResponseWriter, r *http.Request, root cluster.Hash, from []cluster.NodeID) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Blobs.Pull(ctx, root, from) }()
	w.Header().Set("Content-Type", "application/json")
	beats := time.NewTicker(beatEvery)
	defer beats.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-beats.C:
			if _, err := io.WriteString(w, "\n"); err != nil {
				cancel()
				return <-done
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				cancel()
				return <-done
			}
		}
	}
}
