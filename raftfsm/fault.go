package raftfsm

import (
	"errors"
	"sync"
)

// fault remembers the first error that ended this replica. A disk that failed once is not trusted again: bbolt
// takes writes after a failed fdatasync as if the lost pages were on disk.
type fault struct {
	once   sync.Once
	report func(error)
	err    error
	failed chan struct{} // closed after err is set
}

func newFault(report func(error)) *fault {
	return &fault{report: report, failed: make(chan struct{})}
}

// fail records err, unless there is one already, and reports it.
func (f *fault) fail(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.failed)
		f.report(err)
	})
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
