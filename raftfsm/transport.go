package raftfsm

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// dialRetry is how long after a failed connection the next one is tried.
	dialRetry = 100 * time.Millisecond

	// dialPatience is how long one request to a peer that is away tries to connect. It is much longer than raft's longest pause, so that a
	// returning node is most likely found by a request that tries.
	dialPatience = time.Minute
)

// errMuted is what a leader with a stalled disk gets for its messages.
var errMuted = errors.New("the disk of this node has stalled")

// transport is raft's network transport with an ear on it: it notes what each follower confirmed, cuts requests
// that are too large, and can fall silent.
type transport struct {
	*raft.NetworkTransport
	stream *stream
	peers  *contacts
	muted  atomic.Bool
	raft   atomic.Pointer[raft.Raft] // knows the members' addresses; nil until it runs
	pipes  pipelines
	calls  chan raft.RPC // what peers ask of raft, and stand
}

func newTransport(cfg Config, peers *contacts) *transport {
	s := newStream(cfg.Stream, cfg.Addr)
	t := &transport{
		stream: s,
		peers:  peers,
		calls:  make(chan raft.RPC),
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:  s,
			MaxPool: connsPerPeer,
			Timeout: rpcTimeout,
			Logger:  newLogger(cfg.Log),
		}),
	}
	s.served.Go(t.pass)
	return t
}

// pass hands on what peers ask, until the stream is closed.
func (t *transport) pass() {
	for {
		select {
		case c := <-t.NetworkTransport.Consumer():
			t.call(c)
		case <-t.stream.ctx.Done():
			return
		}
	}
}

func (t *transport) call(c raft.RPC) {
	select {
	case t.calls <- c:
	case <-t.stream.ctx.Done():
	}
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.calls }

// stand has this node stand for election at once, as a leader asks of its successor.
func (t *transport) stand() {
	t.call(raft.RPC{
		Command:  &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}},
		RespChan: make(chan raft.RPCResponse, 1),
	})
}

// AppendEntries implements raft.Transport. While the peer cannot be connected to, it tries again: raft would double its pause after each
// failure, up to 10 s, and a node that comes back would be left alone for as long.
func (t *transport) AppendEntries(
	id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	var away *awayError
	for giveUp := time.Now().Add(dialPatience); ; {
		if t.muted.Load() {
			return errMuted
		}
		trim(req)
		err := t.NetworkTransport.AppendEntries(id, t.where(id, to), req, resp)
		if err == nil {
			t.peers.heard(id, req, resp, time.Now())
			return nil
		}
		t.peers.lost(id)
		if !errors.As(err, &away) || time.Now().After(giveUp) || !t.stream.pause(dialRetry) {
			return err
		}
	}
}

// where is a member's newest address: it may have moved since raft began to call it.
func (t *transport) where(id raft.ServerID, to raft.ServerAddress) raft.ServerAddress {
	if r := t.raft.Load(); r != nil {
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if s.ID == id {
				return s.Address
			}
		}
	}
	return to
}

// Close implements raft.WithClose. It returns when all that the transport started has ended, pipelines
// excepted: raft closes those, see wait.
func (t *transport) Close() error {
	err := t.NetworkTransport.Close()
	t.CloseStreams()
	t.stream.wait()
	return err
}

// wait returns when all pipelines have ended. Call it after raft has shut down.
func (t *transport) wait() { t.pipes.served.Wait() }

// trim keeps at most maxAppendBytes of entries, and one at least. Raft looks at what the request holds after the
// call and goes on from there.
func trim(req *raft.AppendEntriesRequest) {
	size := 0
	for i, l := range req.Entries {
		size += len(l.Data)
		if i > 0 && size > maxAppendBytes {
			req.Entries = req.Entries[:i]
			return
		}
	}
}
