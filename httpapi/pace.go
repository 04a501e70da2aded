package httpapi

import (
	"net/http"
	"time"
)

// maxPiece is how much of a reply has to go out in stallTime over HTTP/2.
const maxPiece = 16 << 10

// boundWrites gives up on a client of HTTP/2 that does not take its reply. The limit on writes to the connection does not see
// it: the client may go on reading the connection and grant this reply no room, for ever. Each piece has a time of its own, so
// that a slow link gets all of it, and so does a handler that thinks for long between two pieces.
func boundWrites(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 {
			h.ServeHTTP(w, r)
			return
		}
		p := &paced{ResponseWriter: w, control: http.NewResponseController(w)}
		h.ServeHTTP(p, r)
		p.begin() // what net/http has kept back goes out when the handler has returned
	})
}

// paced bounds each write to a client of HTTP/2.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	bounded bool // the handler has set a deadline of its own
}

// Write splits what is long.
func (p *paced) Write(b []byte) (n int, err error) {
	p.begin()
	defer p.end()
	for {
		piece := b[:min(len(b), maxPiece)]
		m, err := p.ResponseWriter.Write(piece)
		n += m
		if b = b[len(piece):]; err != nil || len(b) == 0 {
			return n, err
		}
		p.begin()
	}
}

// FlushError sends what was written so far.
func (p *paced) FlushError() error {
	p.begin()
	defer p.end()
	return p.control.Flush()
}

// Flush implements http.Flusher.
func (p *paced) Flush() {
	// Whoever wants to know uses FlushError, as http.ResponseController does.
	_ = p.FlushError()
}

// SetWriteDeadline replaces the bound on each piece; the zero time brings it back.
func (p *paced) SetWriteDeadline(t time.Time) error {
	p.bounded = !t.IsZero()
	return p.control.SetWriteDeadline(t)
}

// Unwrap lets http.ResponseController find what is below.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *paced) begin() {
	if !p.bounded {
		_ = p.control.SetWriteDeadline(time.Now().Add(stallTime)) // a stream that is closed already needs none
	}
}

func (p *paced) end() {
	if !p.bounded {
		_ = p.control.SetWriteDeadline(time.Time{}) // the handler may take its time until the next piece
	}
}
