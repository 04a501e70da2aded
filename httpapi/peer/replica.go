package peer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// Copy names a replica of an instance's disk, and who asks about it.
type Copy struct {
	Instance cluster.InstanceID
	Epoch    uint64         // of the replica
	Anew     bool           // what it held is worth nothing: it begins empty
	Asker    cluster.NodeID // as its certificate says; "" in what a Client is given
}

// Replicas is the end of a mirror that keeps the replica.
type Replicas interface {
	// Take connects to what writes a replica here. An earlier connection to it has ended before that. Refused, with code Stale, unless the
	// state says that this very replica of the asker's instance is here and of use. Code Unavailable as long as it cannot be begun yet.
	Take(ctx context.Context, c Copy) (net.Conn, error)
}

// replicaRoutes serves the nodes whose guests have replicas here.
func (s *server) replicaRoutes(r chi.Router) {
	r.Get("/v1/replicas/{id}/{epoch}", s.replica101)
}

// replica101 connects a peer to what writes a replica, and returns when either has gone.
func (s *server) replica101(w http.ResponseWriter, r *http.Request) {
	s.takeOver(w, r, moveProtocol, func() (net.Conn, error) {
		c, err := copyOf(r)
		if err != nil {
			return nil, err
		}
		return s.Replicas.Take(r.Context(), c)
	}, join)
}

func copyOf(r *http.Request) (Copy, error) {
	epoch, err := strconv.ParseUint(chi.URLParam(r, "epoch"), 10, 64)
	if err != nil {
		return Copy{}, cluster.Errorf(cluster.Invalid, "a replica's epoch is a number")
	}
	return Copy{Instance: instanceOf(r), Epoch: epoch, Anew: r.URL.Query().Has("anew"), Asker: asker(r)}, nil
}

// Replica connects to what writes a replica on another node. ctx bounds the connecting only. See Replicas.
func (c *Client) Replica(ctx context.Context, node cluster.NodeID, which Copy) (net.Conn, error) {
	path := "/v1/replicas/" + url.PathEscape(string(which.Instance)) + "/" + strconv.FormatUint(which.Epoch, 10)
	if which.Anew {
		path += "?anew"
	}
	conn, err := c.dial(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	up, err := upgrade(ctx, conn, node, path)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return up, nil
}
