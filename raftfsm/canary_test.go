package raftfsm

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A leader tries its disk every second while it commits nothing. While it does, the log itself shows that the disk works.
func TestCanary_IsSparedWhileTheLogIsWritten(t *testing.T) {
	synctest.Test(t, canaryIsSparedWhileTheLogIsWritten)
}

func canaryIsSparedWhileTheLogIsWritten(t *testing.T) {
	l := newLab(t)
	var touched atomic.Int32
	l.tune = func(_ int, c *Config) {
		c.seams.touch = func(string) error { touched.Add(1); return nil }
	}
	leader := l.grow(1)
	touched.Store(0)
	for i := range 100 {
		l.must(leader, project(i))
		time.Sleep(100 * time.Millisecond)
	}
	if n := touched.Load(); n != 0 {
		t.Errorf("the disk was tried %d times while the log was written", n)
	}
	touched.Store(0)
	time.Sleep(10 * time.Second)
	if n := touched.Load(); n < 8 {
		t.Errorf("an idle leader tried its disk %d times in ten seconds", n)
	}
}
