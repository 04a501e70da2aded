package rafttest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair connects two hosts, a to b.
func pair(t *testing.T, n *Network) (a, b net.Conn) {
	t.Helper()
	from, to := n.Listen("a:1"), n.Listen("b:1")
	a, err := from.Dial(context.Background(), "b:1")
	if err != nil {
		t.Fatal(err)
	}
	b, err = to.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// What is sent over a cut link arrives after it heals, once and in order, and not before.
func TestCut_DelaysWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, b := pair(t, n)
		n.Cut("b:1", "a:1")
		write(t, a, "one ")
		write(t, a, "two")
		start := time.Now()
		go func() {
			time.Sleep(time.Minute)
			n.Heal("a:1", "b:1")
		}()
		got := make([]byte, 7)
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "one two" {
			t.Errorf("got %q, %v", got, err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it arrived after %v", took)
		}
	})
}

// A dial over a cut link waits for its context, one to nobody is refused at once.
func TestDial_CutWaitsAndNobodyRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		s := n.Listen("a:1")
		if _, err := s.Dial(context.Background(), "c:1"); !errors.Is(err, ErrRefused) {
			t.Errorf("nobody listens: %v", err)
		}
		n.Listen("b:1")
		n.Isolate("a:1", "a:1", "b:1")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.Dial(ctx, "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the link is cut: %v", err)
		}
		n.HealAll()
		if _, err := s.Dial(context.Background(), "b:1"); err != nil {
			t.Error(err)
		}
	})
}

// A delay holds up each direction; a deadline ends a wait, also one that has begun.
func TestConn_DelayAndDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, b := pair(t, n)
		n.SetDelay(50 * time.Millisecond)
		start := time.Now()
		write(t, a, "x")
		if _, err := b.Read(make([]byte, 1)); err != nil || time.Since(start) != 50*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		go func() {
			time.Sleep(time.Second)
			_ = b.SetReadDeadline(time.Now())
		}()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// A reader that reads nothing stops its writer, who goes on when it reads.
func TestConn_WindowBoundsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, NewNetwork())
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		sent, err := a.Write(make([]byte, 2*window))
		if sent != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes were sent, %v", sent, err)
		}
		if _, err := io.CopyN(io.Discard, b, window); err != nil {
			t.Error(err)
		}
	})
}

// Close lets the peer read what was sent and then end; a reset breaks both ends.
func TestConn_CloseAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, b := pair(t, n)
		write(t, a, "last")
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(b); err != nil || string(got) != "last" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Error("nobody reads any more")
		}
		n.Reset("b:1")
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the reset: %v", err)
		}
	})
}
