package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	// streamVerb makes this program the far end of a plain TCP connection, instead of measuring anything: it runs so inside a host.
	streamVerb = "stream"

	streamBuffer  = 1 << 20
	streamTimeout = 2 * time.Minute
)

// stream sends bytes from a host to another over one plain TCP connection, and gives how many came in a second. They go to nowhere, or to a
// file on the disk of the other host, where they must be safe.
func (t *theater) stream(ctx context.Context, from, to *cloud.Node, bytes int64, file string) (perSecond float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	address := net.JoinHostPort(from.Host.Address(), streamPort)
	source, err := from.Host.Start("stream", nil, self, streamVerb, "send", address, strconv.FormatInt(bytes, 10))
	if err != nil {
		return 0, err
	}
	said, err := to.Host.Run(ctx, self, streamVerb, "receive", address, file)
	if err := errors.Join(err, source.Stop(time.Second)); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(said), 64)
}

// streams is the program inside a host. "send" waits for one connection and sends so many zeros; "receive" connects and prints how many
// came in a second; its last argument names a file for them, "": they go to nowhere.
func streams(ctx context.Context, args []string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	switch {
	case len(args) == 3 && args[0] == "send":
		n, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return fmt.Errorf("send bytes: %w", err)
		}
		return sendZeros(ctx, args[1], n)
	case len(args) == 3 && args[0] == "receive":
		rate, err := receiveAll(ctx, args[1], args[2])
		if err == nil {
			_, err = fmt.Fprintln(out, rate)
		}
		return err
	}
	return fmt.Errorf("unknown arguments %q", args)
}

func sendZeros(ctx context.Context, address string, n int64) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	block := make([]byte, streamBuffer)
	for ; n > 0 && err == nil; n -= int64(len(block)) {
		_, err = conn.Write(block[:min(n, int64(len(block)))])
	}
	return errors.Join(err, conn.Close())
}

// receiveAll gives the bytes a second from the first until the last is where it belongs.
func receiveAll(ctx context.Context, address, file string) (float64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	for err != nil { // the other end is being started
		if err := sleep(ctx, linkPoll); err != nil {
			return 0, err
		}
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	defer conn.Close()
	sink, settle := io.Discard, func() error { return nil }
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return 0, err
		}
		defer os.Remove(file)
		sink, settle = f, func() error { return errors.Join(f.Sync(), f.Close()) }
	}
	start := time.Now()
	// Without the types around them, reader and writer would move the bytes in their own way.
	n, err := io.CopyBuffer(struct{ io.Writer }{sink}, struct{ io.Reader }{conn}, make([]byte, streamBuffer))
	err = errors.Join(err, settle())
	if n == 0 {
		err = errors.Join(err, io.ErrUnexpectedEOF)
	}
	return float64(n) / time.Since(start).Seconds(), err
}
