package raftfsm

import (
	"errors"
	"sync"
	"sync/atomic"
)

// fault remembers the first error that ended this replica. A disk that failed once is not trusted again: bbolt
// takes writes after a failed fdatasync as if the lost pages were on disk.
type fault struct {
	once   sync.Once
	report func(error)
	err    error
	failed chan struct{} // closed after err is set
	armed  atomic.Bool   // false while Open is still there to return the error
}

func newFault(report func(error)) *fault {
	return &fault{report: report, failed: make(chan struct{})}
}

// fail records err, unless there is one already, and reports it.
func (f *fault) fail(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.failed)
		if f.armed.Load() {
			f.report(err)
		}
	})
}

// arm makes fail report from now on, and returns what it has kept to itself.
func (f *fault) arm() error {
	f.armed.Store(true)
	return f.get()
}

// get returns the recorded error, or nil.
func (f *fault) get() error {
	select {
	case <-f.failed:
		return f.err
	default:
		return nil
	}
}

var errStopped = errors.New("this node has stopped")
