package peernet

import (
	"net"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// live is the set of proved connections that are open, in both directions, by the node at the other end. A handshake
// proves membership for a moment; what was opened then may live for weeks.
type live struct {
	mu    sync.Mutex
	conns map[*liveConn]struct{}
}

type liveConn struct {
	net.Conn
	node cluster.NodeID
	set  *live
}

// NodeOf tells which node has proved to be at the other end of a connection that a Port or a Dial gave.
func NodeOf(c net.Conn) (cluster.NodeID, bool) {
	lc, ok := c.(*liveConn)
	if !ok {
		return "", false
	}
	return lc.node, true
}

// CloseWrite ends what this end sends; the other direction goes on.
func (c *liveConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return c.Close()
	}
	return half.CloseWrite()
}

// Close takes the connection out of the set. It may be called more than once.
func (c *liveConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// add counts a connection in.
func (l *live) add(c net.Conn, node cluster.NodeID) *liveConn {
	lc := &liveConn{Conn: c, node: node, set: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = map[*liveConn]struct{}{}
	}
	l.conns[lc] = struct{}{}
	return lc
}

// Cut closes every open connection to or from a node that is not trusted any more, and says how many there were. Call it
// when the members may have changed: a handshake asks only once.
func (c *Credentials) Cut(trust Trust) int {
	c.live.mu.Lock()
	asked := map[cluster.NodeID]bool{}
	var gone []*liveConn
	for lc := range c.live.conns {
		ok, known := asked[lc.node]
		if !known {
			ok = trust(lc.node)
			asked[lc.node] = ok
		}
		if !ok {
			gone = append(gone, lc)
		}
	}
	c.live.mu.Unlock()
	for _, lc := range gone {
		// The raw connection goes at once: a TLS goodbye could wait for a peer that does not read.
		if t, ok := lc.Conn.(interface{ NetConn() net.Conn }); ok {
			_ = t.NetConn().Close()
		}
		_ = lc.Close()
	}
	return len(gone)
}
