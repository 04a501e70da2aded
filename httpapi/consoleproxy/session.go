package consoleproxy

import (
	"context"
	"io"
	"time"

	"github.com/coder/websocket"

	"github.com/kilonova/kilonova/cluster"
)

// The bounds of a session.
const (
	chunkBytes   = 32 << 10 // read from a side at once
	maxMessage   = 1 << 20  // bytes of a client's message; it is passed on while it arrives
	sendTimeout  = time.Minute
	pingEvery    = 30 * time.Second
	pingTimeout  = time.Minute
	watchPause   = 200 * time.Millisecond // between two looks at what changed in the cluster
	maxReason    = 120                    // bytes of the reason in a close frame (RFC 6455, section 5.5)
	reasonGuest  = "The console was closed by the guest."
	reasonClient = "The client has gone."
)

// session passes bytes between a client and a console.
type session struct {
	ws       *websocket.Conn
	guest    io.ReadWriteCloser
	token    *cluster.ConsoleToken
	cluster  Cluster
	stopping <-chan struct{} // closed when the node stops
	life     time.Duration   // what is left of the token's

	sent, received int64 // bytes; read them when run has returned
}

// ending is why a session ends.
type ending struct {
	code   websocket.StatusCode
	reason string
}

// run serves the session until one of its parts ends it.
func (s *session) run() ending {
	ctx, cut := context.WithCancel(context.Background())
	watching, stopWatching := context.WithCancel(ctx)
	defer cut()
	defer stopWatching()
	s.ws.SetReadLimit(maxMessage)
	parts := []func() ending{
		func() ending { return s.fromGuest(ctx) },
		func() ending { return s.toGuest(ctx) },
		func() ending { return s.ping(watching) },
		func() ending { return s.watch(watching) },
	}
	ended := make(chan ending, len(parts))
	for _, part := range parts {
		go func() { ended <- part() }()
	}
	end := <-ended
	stopWatching()
	_ = s.guest.Close()
	// The farewell waits for the client's, for a few seconds; then nothing can block any more. It fails when the client has gone.
	_ = s.ws.Close(end.code, end.reason[:min(len(end.reason), maxReason)])
	cut()
	for range len(parts) - 1 {
		<-ended
	}
	return end
}

// fromGuest sends what the guest writes. It reads no further while the client does not take what was sent.
func (s *session) fromGuest(ctx context.Context) ending {
	buf := make([]byte, chunkBytes)
	for {
		n, err := s.guest.Read(buf)
		if n > 0 {
			if err := s.send(ctx, buf[:n]); err != nil {
				return ending{websocket.StatusGoingAway, "The client does not take what it is sent."}
			}
			s.sent += int64(n)
		}
		if err != nil {
			return ending{websocket.StatusNormalClosure, reasonGuest}
		}
	}
}

func (s *session) send(ctx context.Context, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return s.ws.Write(ctx, websocket.MessageBinary, b)
}

// toGuest passes on what the client sends, in text or binary messages, piece by piece.
func (s *session) toGuest(ctx context.Context) ending {
	buf := make([]byte, chunkBytes)
	for {
		_, message, err := s.ws.Reader(ctx)
		if err != nil {
			return ending{websocket.StatusNormalClosure, reasonClient}
		}
		for {
			n, err := message.Read(buf)
			if _, failed := s.guest.Write(buf[:n]); failed != nil {
				return ending{websocket.StatusNormalClosure, reasonGuest}
			}
			s.received += int64(n)
			if err == io.EOF {
				break
			}
			if err != nil {
				return ending{websocket.StatusNormalClosure, reasonClient}
			}
		}
	}
}

// ping ends the session of a client that does not answer.
func (s *session) ping(ctx context.Context) ending {
	every := time.NewTicker(pingEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return ending{}
		case <-every.C:
		}
		bounded, cancel := context.WithTimeout(ctx, pingTimeout)
		err := s.ws.Ping(bounded)
		cancel()
		if err != nil {
			return ending{websocket.StatusGoingAway, "The client does not answer."}
		}
	}
}

// watch ends the session when what its token was given for holds no longer.
func (s *session) watch(ctx context.Context) ending {
	over := time.NewTimer(s.life)
	defer over.Stop()
	for {
		view, changed := s.cluster.Latest()
		if err := view.ConsoleAllowed(s.token.Hash); err != nil {
			return ending{websocket.StatusPolicyViolation, err.Message}
		}
		pause := time.After(watchPause)
		for waiting := 2; waiting > 0; waiting-- { // for the pause and for a change, so that busy clusters cost no more than a look now and then
			select {
			case <-ctx.Done():
				return ending{}
			case <-s.stopping:
				return ending{websocket.StatusGoingAway, "This node stops: ask another one for a console."}
			case <-over.C:
				return ending{websocket.StatusPolicyViolation, "The time of the console token is over: ask for a new one."}
			case <-changed:
				changed = nil
			case <-pause:
				pause = nil
			}
		}
	}
}
