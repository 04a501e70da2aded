package mirror

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A connection on which something was sent and nothing comes back for stallTimeout is dead: a host that lost its power says nothing. It is
// looked at every stallCheck.
const (
	stallTimeout = 4 * time.Second
	stallCheck   = 500 * time.Millisecond
)

// pipeBuffer is how much is on its way in each direction, in bytes.
const pipeBuffer = 256 << 10

// pipe passes bytes on between a hypervisor here and a replica elsewhere, until either ends, or the replica answers nothing.
type pipe struct {
	near, far net.Conn
	owed      atomic.Int64 // when the first request went out that nothing was answered since, by the clock of began; 0: nothing is owed
	began     time.Time
}

// run closes both when it returns.
func (p *pipe) run() {
	p.began = time.Now()
	done := make(chan struct{})
	var wg sync.WaitGroup
	var once sync.Once
	end := func() {
		once.Do(func() { close(done); p.near.Close(); p.far.Close() })
	}
	wg.Go(func() {
		defer end()
		pour(p.far, p.near, func() { p.owed.CompareAndSwap(0, int64(time.Since(p.began))+1) })
	})
	wg.Go(func() {
		defer end()
		pour(p.near, p.far, func() { p.owed.Store(0) })
	})
	tick := time.NewTicker(stallCheck)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-tick.C:
			if owed := p.owed.Load(); owed != 0 && time.Since(p.began)-time.Duration(owed) > stallTimeout {
				end()
			}
		}
	}
	wg.Wait()
}

// pour passes bytes on, and tells of each piece before it does.
func pour(to, from net.Conn, tell func()) {
	b := make([]byte, pipeBuffer)
	for {
		n, err := from.Read(b)
		if n > 0 {
			tell()
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
