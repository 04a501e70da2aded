package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	maxStillMillis = 200

	stillDiskMiB  = 1024 // what the disk of the guest holds
	stillFlavor   = 2    // GiB, the size of that disk
	fillBeginsMiB = 128  // behind all that the guest's own system has on its disk

	// heartBeat is how often the guest counts.
	heartBeat  = 200 * time.Millisecond
	listenPoll = 2 * time.Millisecond
	quietTime  = 20 * time.Second
)

// measureStill takes snapshots of a running guest with 1 GiB on its disk, and listens to it meanwhile: it counts five times a second, each
// time after a write to that disk. The same is done while nobody takes a snapshot, for what the machine's other programs do to it.
func measureStill(ctx context.Context, b *bench) error {
	return b.play(ctx, 1, nil, func(t *theater) error {
		v, n, x, err := t.castFull(ctx)
		if err != nil {
			return err
		}
		return errors.Join(b.still(ctx, t, v, n, x), x.close())
	})
}

// castFull makes a server whose disk is full of data, and a virsh on its host.
func (t *theater) castFull(ctx context.Context) (v played, n *cloud.Node, x *hands, err error) {
	flavor, err := t.flavor(ctx, "full", map[string]any{"ram": 128, "vcpus": 1, "disk": stillFlavor})
	if err != nil {
		return v, nil, nil, err
	}
	if v, n, err = t.cast(ctx, flavor); err != nil {
		return v, n, nil, err
	}
	if err := t.cut(ctx, n, v.ID); err != nil {
		return v, n, nil, err
	}
	if err := fill(ctx, n, v.ID, filling{"root", "qcow2", fillBeginsMiB, stillDiskMiB}); err != nil {
		return v, n, nil, err
	}
	if _, err := t.acted(ctx, v.ID, map[string]any{"os-start": nil}, "ACTIVE"); err != nil {
		return v, n, nil, err
	}
	if _, err := awaitBoot(ctx, n, v.ID, ""); err != nil {
		return v, n, nil, err
	}
	x, err = newHands(n.Host)
	return v, n, x, err
}

// filling is a stretch of a server's disk.
type filling struct {
	disk, format string
	atMiB, mib   int
}

// fill writes to a disk of a server that is off.
func fill(ctx context.Context, n *cloud.Node, server string, f filling) error {
	path := filepath.Join(n.Host.DataDir(), "instances", server, "disks-*", f.disk)
	_, err := n.Host.Run(ctx, "sh", "-ec", fmt.Sprintf("qemu-io -f %s -c 'write -q -P 0xa5 %dM %dM' %s", f.format, f.atMiB, f.mib, path))
	return err
}

func (b *bench) still(ctx context.Context, t *theater, v played, n *cloud.Node, x *hands) error {
	w, err := startWatch(b.dir, nil)
	if err != nil {
		return err
	}
	var stood, quiet, paused, took []float64
	for range b.runs {
		ear := listen(ctx, n, x, v.ID)
		err := sleep(ctx, quietTime)
		nothing, earErr := ear.end()
		if err := errors.Join(err, earErr); err != nil {
			return err
		}
		ear = listen(ctx, n, x, v.ID)
		start := time.Now()
		err = t.act(ctx, v.ID, map[string]any{"createImage": map[string]any{"name": "full"}})
		if err == nil {
			err = t.dropImages(ctx, v.ID)
		}
		took = append(took, time.Since(start).Seconds())
		during, earErr := ear.end()
		if err := errors.Join(err, earErr); err != nil {
			return err
		}
		stood, quiet = append(stood, millis(during.silence-heartBeat)), append(quiet, millis(nothing.silence-heartBeat))
		paused = append(paused, millis(during.paused))
	}
	during := w.stop()
	name := func(what string) string {
		return fmt.Sprintf("snapshot of a running guest with %d MiB on its disk, %s", stillDiskMiB, what)
	}
	b.add(
		figure{Name: name("longest that libvirt found it paused"), Unit: "ms", Values: paused, Limit: maxStillMillis, During: during},
		figure{Name: name("longest that it was late to count"), Unit: "ms", Values: stood, Limit: maxStillMillis, During: during},
		figure{Name: name("the same without a snapshot"), Unit: "ms", Values: quiet, During: during},
		figure{Name: name("request to image"), Unit: "s", Values: took, During: during},
	)
	return nil
}

// ear listens to a guest.
type ear struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	heard  hearing
	errs   [2]error
}

// hearing is what was heard of a guest for a while.
type hearing struct {
	silence time.Duration // the longest between two counts, also that from the last to the end
	paused  time.Duration // the longest that libvirt gave another state than running
}

// listen begins to listen to a guest: to its console, and to what libvirt says of it.
func listen(ctx context.Context, n *cloud.Node, x *hands, id string) *ear {
	ctx, cancel := context.WithCancel(ctx)
	e := &ear{cancel: cancel}
	e.wg.Go(func() { e.heard.silence, e.errs[0] = silence(ctx, n, id) })
	e.wg.Go(func() { e.heard.paused, e.errs[1] = pauses(ctx, x, id) })
	return e
}

// end stops listening.
func (e *ear) end() (hearing, error) {
	e.cancel()
	e.wg.Wait()
	return e.heard, errors.Join(e.errs[:]...)
}

// silence follows a console until ctx ends and gives the longest time in which nothing new came.
func silence(ctx context.Context, n *cloud.Node, id string) (longest time.Duration, err error) {
	path, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "instances", id, "console.log"))
	if err != nil {
		return 0, err
	}
	size, last := int64(-1), time.Time{}
	for ctx.Err() == nil {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		if now := time.Now(); info.Size() != size {
			if !last.IsZero() {
				longest = max(longest, now.Sub(last))
			}
			if size >= 0 {
				last = now // the first change begins the first time that is known whole
			}
			size = info.Size()
		}
		_ = sleep(ctx, listenPoll)
	}
	return max(longest, time.Since(last)), nil
}

// pauses asks libvirt again and again until ctx ends how a domain is, and gives the longest time in which it did not run.
func pauses(ctx context.Context, x *hands, id string) (longest time.Duration, err error) {
	since := time.Time{}
	for ctx.Err() == nil {
		asked := time.Now()
		said, _, err := x.do(context.WithoutCancel(ctx), "domstate", id)
		if err != nil {
			return 0, err
		}
		switch running := strings.TrimSpace(said) == "running"; {
		case !running && since.IsZero():
			since = asked
		case running && !since.IsZero():
			longest, since = max(longest, time.Since(since)), time.Time{}
		}
		_ = sleep(ctx, listenPoll)
	}
	if !since.IsZero() {
		longest = max(longest, time.Since(since))
	}
	return longest, nil
}
