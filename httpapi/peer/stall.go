package peer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// stallTime is how long a peer may send nothing while it is asked for much: it hangs, and others can be asked instead.
const stallTime = 15 * time.Second

// watch ends a request when its peer falls silent. However long an answer is, it has the time that it needs.
type watch struct {
	node   cluster.NodeID
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	timer  *time.Timer
	once   sync.Once
	body   io.ReadCloser
}

// newWatch gives the context to send the request with.
func newWatch(ctx context.Context, node cluster.NodeID) (*watch, context.Context) {
	w := &watch{node: node}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stallTime, func() { w.cancel(fmt.Errorf("node %s has sent nothing for %s", node, stallTime)) })
	return w, w.ctx
}

// over reads an answer under the watch, until it is closed.
func (w *watch) over(body io.ReadCloser) io.ReadCloser {
	w.body = body
	w.timer.Stop()
	return w
}

// Read gives the peer stallTime for the next bytes. Whoever reads may take its own time between.
func (w *watch) Read(p []byte) (int, error) {
	w.timer.Reset(stallTime)
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && err != io.EOF {
		err = w.why(err)
	}
	return n, err
}

// Close ends the watch.
func (w *watch) Close() error {
	err := w.body.Close()
	w.once.Do(func() { _ = w.stop(nil) })
	return err
}

// stop ends the watch and says why the request failed.
func (w *watch) stop(err error) error {
	w.timer.Stop()
	err = w.why(err)
	w.cancel(context.Canceled)
	return err
}

// why is the silence, if it ended the request.
func (w *watch) why(err error) error {
	if cause := context.Cause(w.ctx); err != nil && cause != nil {
		return cause
	}
	return err
}
