package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
)

// maxConsoleBytes bounds how much of a console log is sent: Nova keeps about as much.
const maxConsoleBytes = 1 << 20

// consoles reads the serial logs of guests: here, or on the node that has them.
type consoles struct {
	self   cluster.NodeID
	driver virt.Driver
	peers  *peer.Client
}

// here serves peers and this node itself.
type hereConsoles struct{ *consoles }

// Console implements peer.Consoles.
func (c hereConsoles) Console(ctx context.Context, id cluster.InstanceID, limit int64) (io.ReadCloser, error) {
	r, err := c.driver.Console(ctx, id)
	if errors.Is(err, virt.ErrNotFound) {
		return nil, cluster.Errorf(cluster.NotFound, "instance %s has no console log on this node", id)
	}
	if err != nil {
		return nil, fmt.Errorf("open the console log of %s: %w", id, err)
	}
	defer r.Close()
	tail, err := lastBytes(r, min(limit, maxConsoleBytes))
	if err != nil {
		return nil, fmt.Errorf("read the console log of %s: %w", id, err)
	}
	return io.NopCloser(strings.NewReader(string(tail))), nil
}

// lastBytes reads to the end and keeps the last n bytes.
func lastBytes(r io.Reader, n int64) ([]byte, error) {
	if s, ok := r.(io.Seeker); ok {
		if end, err := s.Seek(0, io.SeekEnd); err == nil {
			if _, err := s.Seek(max(0, end-n), io.SeekStart); err != nil {
				return nil, err
			}
		}
	}
	var kept []byte
	buf := make([]byte, 64<<10)
	for {
		m, err := r.Read(buf)
		kept = append(kept, buf[:m]...)
		if int64(len(kept)) > 2*n {
			kept = append(kept[:0], kept[int64(len(kept))-n:]...)
		}
		if err == io.EOF {
			return kept[max(0, int64(len(kept))-n):], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Console implements compute.Console: the last lines, all that is kept when lines is negative.
func (c *consoles) Console(ctx context.Context, in *cluster.Instance, lines int) (string, error) {
	if in.Node == "" {
		return "", cluster.Errorf(cluster.NotFound, "instance %s is on no node", in.ID)
	}
	var r io.ReadCloser
	var err error
	if in.Node == c.self {
		r, err = hereConsoles{c}.Console(ctx, in.ID, maxConsoleBytes)
	} else {
		r, err = c.peers.Console(ctx, in.Node, in.ID, maxConsoleBytes)
	}
	if err != nil {
		if cluster.CodeOf(err) == cluster.Internal {
			err = cluster.Errorf(cluster.Unavailable, "the node of instance %s does not answer", in.ID)
		}
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxConsoleBytes))
	if err != nil {
		return "", cluster.Errorf(cluster.Unavailable, "the node of instance %s stopped answering", in.ID)
	}
	return lastLines(string(b), lines), nil
}

// lastLines keeps the last n lines; all when n is negative. As in Nova, what follows the last line feed counts as a line
// even when it is empty.
func lastLines(s string, n int) string {
	if n < 0 {
		return s
	}
	end := len(s)
	for ; n > 0; n-- {
		i := strings.LastIndexByte(s[:end], '\n')
		if i < 0 {
			return s
		}
		end = i
	}
	return s[min(len(s), end+1):]
}
