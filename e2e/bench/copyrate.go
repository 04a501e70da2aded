package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	minCopyPercent   = 80
	maxBytesPerDatum = 1.1 // bytes on the link for each byte of data: packets and encryption take a few per cent

	// A server that is copied has a root disk with some data, far apart, and a second disk, raw, with a little.
	copyDiskGiB      = 4
	copyEphemeralGiB = 2
	copyPieceMiB     = 192
	copyBetweenMiB   = 2048
	copyLittleMiB    = 64
	copyDataMiB      = 2*copyPieceMiB + copyLittleMiB

	linkPoll   = 2 * time.Millisecond
	linkMoves  = 1 << 20 // bytes on the link that are no chatter of nodes any more
	streamPort = "9999"

	// toldCopied is what a node logs when a disk is here and safe.
	toldCopied = `msg="copied a disk"`
)

// measureCopy migrates a server that is off to and fro, over a link of a fixed speed, and sends as many bytes over one plain TCP
// connection in the same direction, in turns.
func measureCopy(ctx context.Context, b *bench) error {
	return b.play(ctx, 2, nil, func(t *theater) error {
		v, err := t.castSparse(ctx)
		if err != nil {
			return err
		}
		for _, n := range t.cloud.Nodes {
			if _, err := n.Host.Run(ctx, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", b.link, "burst", "1mb", "latency", "50ms"); err != nil {
				return err
			}
		}
		return b.copy(ctx, t, v)
	})
}

// castSparse makes a server that is off, whose disks hold little of what they could.
func (t *theater) castSparse(ctx context.Context) (v played, err error) {
	flavor, err := t.flavor(ctx, "sparse", map[string]any{"ram": 128, "vcpus": 1, "disk": copyDiskGiB, "OS-FLV-EXT-DATA:ephemeral": copyEphemeralGiB})
	if err != nil {
		return v, err
	}
	v, n, err := t.cast(ctx, flavor)
	if err != nil {
		return v, err
	}
	if err := t.cut(ctx, n, v.ID); err != nil {
		return v, err
	}
	return v, errors.Join(
		fill(ctx, n, v.ID, filling{"root", "qcow2", fillBeginsMiB, copyPieceMiB}),
		fill(ctx, n, v.ID, filling{"root", "qcow2", fillBeginsMiB + copyBetweenMiB, copyPieceMiB}),
		fill(ctx, n, v.ID, filling{"ephemeral", "raw", 512, copyLittleMiB}))
}

func (b *bench) copy(ctx context.Context, t *theater, v played) error {
	w, err := startWatch(b.dir, nil)
	if err != nil {
		return err
	}
	var share, fileShare, rate, plain, file, bytes, cpu []float64
	for run := range b.runs + 1 {
		one, err := t.moveCold(ctx, v.ID)
		if err != nil {
			return err
		}
		link, err := t.stream(ctx, one.from, one.to, one.bytes, "")
		if err != nil {
			return err
		}
		toFile, err := t.stream(ctx, one.from, one.to, one.bytes, filepath.Join(one.to.Host.DataDir(), "stream"))
		if err != nil {
			return err
		}
		if run == 0 {
			continue // the image had to be fetched
		}
		mine := float64(one.data) / one.took.Seconds()
		share, fileShare = append(share, 100*mine/link), append(fileShare, 100*mine/toFile)
		bytes = append(bytes, float64(one.bytes)/float64(one.data))
		rate, plain, file = append(rate, mine/(1<<20)), append(plain, link/(1<<20)), append(file, toFile/(1<<20))
		cpu = append(cpu, one.cpu.Seconds()*(1<<30)/float64(one.data))
	}
	during := w.stop()
	name := func(what string) string {
		return fmt.Sprintf("cold migration of %d MiB in disks of %d GiB over %s/s, %s", copyDataMiB, copyDiskGiB+copyEphemeralGiB, b.link, what)
	}
	b.add(
		figure{Name: name("rate to that of plain TCP"), Unit: "%", Values: share, Limit: minCopyPercent, AtLeast: true, During: during},
		figure{Name: name("rate to that of plain TCP into a file that is synced"), Unit: "%", Values: fileShare, During: during},
		figure{Name: name("bytes on the link for each of data"), Values: bytes, Limit: maxBytesPerDatum, During: during},
		figure{Name: name("rate"), Unit: "MiB/s", Values: rate, During: during},
		figure{Name: name("plain TCP"), Unit: "MiB/s", Values: plain, During: during},
		figure{Name: name("plain TCP into a file that is synced"), Unit: "MiB/s", Values: file, During: during},
		figure{Name: name("processor time of both nodes for 1 GiB"), Unit: "s", Values: cpu, During: during},
	)
	return nil
}

// coldMove is what one migration did.
type coldMove struct {
	from, to *cloud.Node
	data     int64         // bytes of data on the disks
	bytes    int64         // that came over the link
	took     time.Duration // from the first of them until the last disk was safe
	cpu      time.Duration // processor time of both nodes
}

// moveCold migrates a server that is off to the other host, and confirms it.
func (t *theater) moveCold(ctx context.Context, id string) (m coldMove, err error) {
	now, err := t.settled(ctx, id, "SHUTOFF")
	if err != nil {
		return m, err
	}
	if m.from, err = t.node(now.Host); err != nil {
		return m, err
	}
	m.to = t.other(m.from)
	before, err := received(m.to)
	if err != nil {
		return m, err
	}
	logged, err := m.to.Daemon.Log()
	if err != nil {
		return m, err
	}
	used, err := t.cpu()
	if err != nil {
		return m, err
	}
	if err := t.act(ctx, id, map[string]any{"migrate": map[string]any{"host": nil}}); err != nil {
		return m, err
	}
	first, err := awaitBytes(ctx, m.to, before+linkMoves)
	if err != nil {
		return m, err
	}
	if _, err := t.settled(ctx, id, "VERIFY_RESIZE"); err != nil {
		return m, err
	}
	after, err := received(m.to)
	if err != nil {
		return m, err
	}
	m.bytes = after - before
	m.cpu, err = t.cpu()
	if err != nil {
		return m, err
	}
	m.cpu -= used
	all, err := m.to.Daemon.Log()
	if err != nil {
		return m, err
	}
	last := time.Time{}
	if last, m.data, err = copies(all[len(logged):]); err != nil {
		return m, err
	}
	m.took = last.Sub(first)
	if err := t.act(ctx, id, map[string]any{"confirmResize": nil}); err != nil {
		return m, err
	}
	_, err = t.settled(ctx, id, "SHUTOFF")
	return m, err
}

// cpu is how much processor time the nodes have used.
func (t *theater) cpu() (all time.Duration, err error) {
	for _, n := range t.cloud.Nodes {
		used, err := cpuOf(n.Daemon.PID())
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

// awaitBytes waits until a host has received so many bytes in its life, and says when.
func awaitBytes(ctx context.Context, n *cloud.Node, want int64) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, handTimeout)
	defer cancel()
	for {
		have, err := received(n)
		if err != nil || have >= want {
			return time.Now(), err
		}
		if err := sleep(ctx, linkPoll); err != nil {
			return time.Time{}, fmt.Errorf("wait for bytes on the link to %s: %w", n.Name(), err)
		}
	}
}

// received is how many bytes a host has received.
func received(n *cloud.Node) (int64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.Host.PID()), "net/dev"))
	if err != nil {
		return 0, err
	}
	return parseReceived(string(text), "eth0")
}

// parseReceived reads the first number of a link's line in /proc/net/dev, see proc(5).
func parseReceived(text, link string) (int64, error) {
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if fields := strings.Fields(rest); ok && name == link && len(fields) > 0 {
			return strconv.ParseInt(fields[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("read /proc/net/dev: it has no link %s", link)
}

// copies finds in a node's log when the last disk was copied, and how many bytes of data all had.
func copies(log string) (last time.Time, data int64, err error) {
	for line := range strings.Lines(log) {
		if !strings.Contains(line, toldCopied) {
			continue
		}
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		if last, err = time.Parse(logTime, stamp); err != nil {
			return last, 0, fmt.Errorf("read the time of %q: %w", line, err)
		}
		_, number, _ := strings.Cut(line, "bytes=")
		number, _, _ = strings.Cut(strings.TrimSpace(number), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return last, 0, fmt.Errorf("read the bytes of %q: %w", line, err)
		}
		data += n
	}
	if data == 0 {
		return last, 0, errors.New("the log does not say that a disk was copied")
	}
	return last, data, nil
}
