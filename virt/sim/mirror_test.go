package sim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
)

const (
	copyEpoch  = 9
	copySocket = "/a/copy"
)

// twins is a guest on one host whose disk is mirrored to another, and the way between the two.
type twins struct {
	t        *testing.T
	from, to *sim.Driver
	wire     *sim.Net

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
	wg    sync.WaitGroup
}

func newTwins(t *testing.T, file string) *twins {
	w := &twins{t: t, wire: sim.NewNet()}
	w.to = open(t, sim.Config{Net: w.wire, Sockets: "/b"})
	w.from = open(t, sim.Config{Net: w.wire, Sockets: "/a", File: file})
	l, err := w.wire.Listen(copySocket)
	must(t, err, w.to.MakeReplica(t.Context(), vm, copyEpoch, guest(vm).Root))
	must(t, w.from.Build(t.Context(), guest(vm)), w.from.Start(t.Context(), vm), w.from.GuestWrite(vm, "before"))
	w.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(near) })
		}
	})
	t.Cleanup(func() { l.Close(); w.parted(true); w.wg.Wait() })
	return w
}

func (w *twins) carry(near net.Conn) {
	defer near.Close()
	far, err := w.to.ServeReplica(context.Background(), vm, copyEpoch)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	cut := w.cut
	w.conns = append(w.conns, near, far)
	w.mu.Unlock()
	if cut {
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(near, far); near.Close() }()
	io.Copy(far, near)
	far.Close()
	<-done
}

// parted cuts the way, or heals it.
func (w *twins) parted(cut bool) {
	w.mu.Lock()
	w.cut = cut
	all := w.conns
	w.conns = nil
	w.mu.Unlock()
	if cut {
		for _, c := range all {
			c.Close()
		}
	}
}

func (w *twins) is(want virt.MirrorState) {
	w.t.Helper()
	if got, err := w.from.Mirrored(w.t.Context(), vm); err != nil || got != want {
		w.t.Fatalf("the mirror is %v, %v, want %v", got, err, want)
	}
}

// mirror begins the mirror, and waits until the other side has all.
func (w *twins) mirror() {
	w.t.Helper()
	must(w.t, w.from.Mirror(w.t.Context(), vm, copySocket), w.from.Mirror(w.t.Context(), vm, copySocket))
	time.Sleep(time.Second)
	w.is(virt.MirrorReady)
}

// has looks at the copy as a domain that is started from it does.
func (w *twins) has(want string) {
	w.t.Helper()
	list, err := w.to.Export(w.t.Context(), vm, copyEpoch)
	must(w.t, err)
	content := make([]byte, list[0].Bytes)
	if _, err := list[0].File.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		w.t.Fatal(err)
	}
	if !strings.Contains(string(content), want) {
		w.t.Errorf("the copy lacks %q", want)
	}
}

// A guest's disk is mirrored to another host. What it wrote before and writes then is there. The way is cut: its write waits, and is answered
// when the way is healed, or when the mirror is ended.
func TestMirror_HoldsWritesBackUntilTheOtherSideHasThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, "")
		w.is(virt.MirrorNone)
		w.mirror()
		must(t, w.from.GuestWrite(vm, "mirrored"))
		w.has("before\nmirrored\n")
		w.parted(true)
		told := make(chan error, 1)
		go func() { told <- w.from.GuestWrite(vm, "while it is cut") }()
		time.Sleep(time.Minute)
		w.is(virt.MirrorReady)
		select {
		case err := <-told:
			t.Fatalf("the guest was told of what the copy lacks: %v", err)
		default:
		}
		w.parted(false)
		must(t, <-told)
		w.has("mirrored\nwhile it is cut\n")
		w.parted(true)
		go func() { told <- w.from.GuestWrite(vm, "alone") }()
		time.Sleep(time.Minute)
		must(t, w.from.EndMirror(t.Context(), vm), w.from.EndMirror(t.Context(), vm), <-told)
		w.is(virt.MirrorNone)
	})
}

// The other host cannot write for a while. The guest is told of nothing that it has not.
func TestMirror_WhatCannotBeWrittenThereIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, "")
		w.mirror()
		w.to.SetFault(sim.OpWriteReplica, sim.Fault{Fail: 3})
		began := time.Now()
		must(t, w.from.GuestWrite(vm, "at last"))
		w.has("at last\n")
		if time.Since(began) < 2*time.Second {
			t.Error("it failed three times and nobody noticed")
		}
		w.to.SetFault(sim.OpWriteReplica, sim.Fault{Hang: true})
		go func() {
			time.Sleep(time.Minute)
			w.to.SetFault(sim.OpWriteReplica, sim.Fault{})
			w.parted(true)
			w.parted(false)
		}()
		must(t, w.from.GuestWrite(vm, "later"))
		w.has("later\n")
	})
}

// The hypervisor is opened anew: the mirror goes on, and until it does the guest's writes wait. With the guest's power it ends.
func TestMirror_OutlastsTheProcessAndEndsWithThePower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "records")
		w := newTwins(t, file)
		w.mirror()
		w.parted(true)
		must(t, w.from.Close())
		wire := w.wire
		w.from = open(t, sim.Config{Net: wire, Sockets: "/a2", File: file})
		w.is(virt.MirrorReady)
		told := make(chan error, 1)
		go func() { told <- w.from.GuestWrite(vm, "after") }()
		time.Sleep(time.Minute)
		select {
		case err := <-told:
			t.Fatalf("the guest was told of what the copy lacks: %v", err)
		default:
		}
		w.parted(false)
		must(t, <-told)
		w.has("after\n")
		must(t, w.from.Stop(t.Context(), vm, virt.Destroy))
		if _, err := w.from.Mirrored(t.Context(), vm); !errors.Is(err, virt.ErrNotRunning) {
			t.Errorf("a mirror of a guest that is off: %v", err)
		}
		must(t, w.from.Start(t.Context(), vm))
		w.is(virt.MirrorNone)
	})
}

// What is not there, or in use, is not served or made anew, and nothing is written to it any more.
func TestReplica_IsNeverADiskInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, "")
		ctx := t.Context()
		if _, err := w.from.ServeReplica(ctx, vm, copyEpoch); !errors.Is(err, virt.ErrNotFound) {
			t.Errorf("what is not there is served: %v", err)
		}
		if _, err := w.from.ServeReplica(ctx, vm, 0); err == nil {
			t.Error("the disk of a domain is served")
		}
		if err := w.from.MakeReplica(ctx, vm, 0, guest(vm).Root); err == nil {
			t.Error("the disk of a domain is made anew")
		}
		w.mirror()
		g := guest(vm)
		g.Stamp.Epoch, g.DiskEpoch = 10, copyEpoch
		must(t, w.to.Build(ctx, g), w.to.Start(ctx, vm))
		told := make(chan error, 1)
		go func() { told <- w.from.GuestWrite(vm, "too late") }()
		time.Sleep(time.Minute)
		if h := look(t, w.to); h.Wrote != "before\n" {
			t.Errorf("the copy runs, and holds %q", h.Wrote)
		}
		must(t, w.from.EndMirror(ctx, vm), <-told)
	})
}

// A migration, a snapshot and a suspend of the guest end its mirror: whoever asks for them has said before that the copy does not count any more.
func TestMirror_EndsBeforeItsDiskIsCopiedOtherwise(t *testing.T) {
	for name, do := range map[string]func(*twins) error{
		"snapshot": func(w *twins) error {
			return w.from.Capture(w.t.Context(), vm, virt.DiskRoot, filepath.Join(w.t.TempDir(), "image"), false, nil)
		},
		"suspend": func(w *twins) error {
			return errors.Join(w.from.Save(w.t.Context(), vm), w.from.Start(w.t.Context(), vm))
		},
		"migration to nowhere": func(w *twins) error {
			if err := w.from.Migrate(w.t.Context(), vm, virt.Landing{Libvirt: "/nowhere"}, virt.MigrateOptions{}, nil); err == nil {
				return errors.New("it migrated to nowhere")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTwins(t, "")
				w.mirror()
				must(t, do(w))
				w.is(virt.MirrorNone)
			})
		})
	}
}
