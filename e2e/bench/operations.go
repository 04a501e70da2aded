package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// maxShareMillis is how much longer an operation may take than the same done by hand.
const maxShareMillis = 50

// Files in the twin's directory.
const (
	backupFile = "backup.qcow2"
	orderFile  = "backup.xml"
)

// backupOrder has libvirt copy the first disk, as a snapshot does.
const backupOrder = `<domainbackup mode='push'><disks>
<disk name='vda' type='file'><driver type='qcow2'/><target file='%s'/></disk>
</disks></domainbackup>
`

// measureOperations does each operation to a server through the API, and the same to a twin of it by hand, in turns. The difference is
// what the cluster's part in it costs: agreement, decisions, reports, and the client's own looking.
func measureOperations(ctx context.Context, b *bench) error {
	return b.play(ctx, townSize, nil, func(t *theater) error {
		d, err := newDuet(ctx, t)
		if err != nil {
			return err
		}
		for _, act := range d.acts() {
			if err = b.perform(ctx, d, act); err != nil {
				break
			}
		}
		return errors.Join(err, d.hands.close())
	})
}

// perform measures the operations of one act. What was measured before an error counts.
func (b *bench) perform(ctx context.Context, d *duet, act []deed) error {
	w, err := startWatch(b.dir, nil)
	if err != nil {
		return err
	}
	shares, whole, byHand, outside := make([][]float64, len(act)), make([][]float64, len(act)), make([][]float64, len(act)), make([][]float64, len(act))
	for run := 0; run < b.runs && err == nil; run++ {
		for i, one := range act {
			var ours, theirs time.Duration
			told := d.logSize()
			if ours, theirs, err = d.perform(ctx, one, run%2 == 0); err != nil {
				err = fmt.Errorf("%s: %w", one.name, err)
				break
			}
			shares[i] = append(shares[i], millis(ours-theirs))
			whole[i], byHand[i] = append(whole[i], millis(ours)), append(byHand[i], millis(theirs))
			if len(one.calls) == 0 {
				continue
			}
			var inside time.Duration
			if inside, err = d.calls(told, one.calls); err != nil {
				break
			}
			outside[i] = append(outside[i], millis(ours-inside))
		}
	}
	during := w.stop()
	for i, one := range act {
		b.note("%s: %s ms, by hand %s ms", one.name, number(median(whole[i])), number(median(byHand[i])))
		b.add(figure{Name: one.name + ", longer than by hand", Unit: "ms", Values: shares[i], Limit: maxShareMillis, During: during})
		if len(one.calls) > 0 {
			b.add(figure{Name: one.name + ", outside of those calls to libvirt", Unit: "ms", Values: outside[i], Limit: maxShareMillis, During: during})
		}
	}
	return err
}

// duet is a server and its twin, which do the same.
type duet struct {
	*theater
	server played
	node   *cloud.Node
	hands  *hands
	twin   *twin
	boots  [2]string // the boots that were seen last: of the server, of the twin
	anew   [2]bool   // it boots, or has booted, once more since
}

func newDuet(ctx context.Context, t *theater) (_ *duet, err error) {
	d := &duet{theater: t, anew: [2]bool{true, true}}
	if d.server, d.node, err = t.cast(ctx, ""); err != nil {
		return nil, err
	}
	if d.hands, err = newHands(d.node.Host); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.hands.close())
		}
	}()
	if d.twin, err = newTwin(ctx, d.node, d.hands, d.server.ID); err != nil {
		return nil, err
	}
	order := fmt.Sprintf(backupOrder, filepath.Join(d.twin.dir(), backupFile))
	if err := d.twin.write(filepath.Join(d.twin.dir(), orderFile), []byte(order)); err != nil {
		return nil, err
	}
	_, _, err = d.hands.do(ctx, "start", d.twin.name)
	return d, err
}

// deed is one operation in both ways.
type deed struct {
	name   string
	boots  bool     // it boots them
	calls  []string // of the node to libvirt, that are made by hand, too, as it logs them; nil: that cannot be told
	ours   func(ctx context.Context) (time.Duration, error)
	byHand func(ctx context.Context) error
	after  func(ctx context.Context) error // nil: nothing is left to do
}

// acts are groups of operations; in each, one leaves what the next one needs, and the last what the first one does.
func (d *duet) acts() [][]deed {
	name := d.twin.name
	act := func(body map[string]any, status string) func(context.Context) (time.Duration, error) {
		return func(ctx context.Context) (time.Duration, error) { return d.acted(ctx, d.server.ID, body, status) }
	}
	hand := func(commands ...[]string) func(context.Context) error {
		return func(ctx context.Context) error { return d.hands.all(ctx, commands...) }
	}
	return [][]deed{{
		{name: "pause", calls: []string{"suspend domain"}, ours: act(map[string]any{"pause": nil}, "PAUSED"), byHand: hand([]string{"suspend", name})},
		{name: "unpause", calls: []string{"resume domain"}, ours: act(map[string]any{"unpause": nil}, "ACTIVE"), byHand: hand([]string{"resume", name})},
		{name: "suspend", calls: []string{"save domain"}, ours: act(map[string]any{"suspend": nil}, "SUSPENDED"), byHand: hand([]string{"managedsave", name, "--running"})},
		{name: "resume", calls: []string{"restore domain"}, ours: act(map[string]any{"resume": nil}, "ACTIVE"), byHand: hand([]string{"start", name})},
		{name: "snapshot, until the copy begins", ours: d.snapshot, after: d.endBackup,
			byHand: hand([]string{"backup-begin", name, filepath.Join(d.twin.dir(), orderFile)})},
	}, {
		{name: "reboot, hard", boots: true, calls: []string{"destroy domain", "define domain", "create domain"},
			ours:   act(map[string]any{"reboot": map[string]any{"type": "HARD"}}, "ACTIVE"),
			byHand: hand([]string{"destroy", name}, []string{"define", d.twin.xml}, []string{"start", name})},
		{name: "rebuild", boots: true, calls: []string{"destroy domain", "undefine domain", "define domain", "create domain"},
			ours: act(map[string]any{"rebuild": map[string]any{"imageRef": d.scene.image}}, "ACTIVE"), byHand: d.rebuildByHand},
	}, {
		{name: "stop", ours: act(map[string]any{"os-stop": nil}, "SHUTOFF"), byHand: func(ctx context.Context) error {
			return errors.Join(d.hands.all(ctx, []string{"shutdown", name, "--mode", "acpi"}), d.hands.until(ctx, name, "shut off"))
		}},
		{name: "start", boots: true, calls: []string{"create domain"}, ours: act(map[string]any{"os-start": nil}, "ACTIVE"), byHand: hand([]string{"start", name})},
	}}
}

// perform does one operation in both ways, ours first or last. A guest that boots keeps a processor busy without KVM, so each way begins when
// no guest does.
func (d *duet) perform(ctx context.Context, one deed, first bool) (ours, theirs time.Duration, err error) {
	for turn := range 2 {
		if err := d.awaitBoots(ctx); err != nil {
			return 0, 0, err
		}
		mine := (turn == 0) == first
		if one.boots {
			if err := d.noteBoot(mine); err != nil {
				return 0, 0, err
			}
		}
		if mine {
			ours, err = one.ours(ctx)
		} else {
			start := time.Now()
			err = one.byHand(ctx)
			theirs = time.Since(start)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	if one.after != nil {
		err = one.after(ctx)
	}
	return ours, theirs, err
}

// awaitBoots waits until the guests are up that were told to boot.
func (d *duet) awaitBoots(ctx context.Context) (err error) {
	for i, id := range []string{d.server.ID, d.twin.id} {
		if !d.anew[i] {
			continue
		}
		if d.boots[i], err = awaitBoot(ctx, d.node, id, d.boots[i]); err != nil {
			return err
		}
		d.anew[i] = false
	}
	return nil
}

// noteBoot takes note of the boot that is about to end: the server's, or the twin's.
func (d *duet) noteBoot(mine bool) error {
	i, id := 1, d.twin.id
	if mine {
		i, id = 0, d.server.ID
	}
	c, err := heard(d.node, id)
	d.boots[i], d.anew[i] = c.Last().ID, true
	return err
}

// rebuildByHand gives the twin a new disk on the same image.
func (d *duet) rebuildByHand(ctx context.Context) error {
	if err := d.hands.all(ctx, []string{"destroy", d.twin.name}, []string{"undefine", d.twin.name}); err != nil {
		return err
	}
	if err := d.twin.renewDisk(ctx, d.node); err != nil {
		return err
	}
	return d.hands.all(ctx, []string{"define", d.twin.xml}, []string{"start", d.twin.name})
}

// snapshot asks for an image of the server, and says how long it took until QEMU had begun to copy. It waits for the rest, too.
func (d *duet) snapshot(ctx context.Context) (time.Duration, error) {
	path, err := d.node.Host.Path(filepath.Join(d.node.Host.DataDir(), "instances", d.server.ID, "capture.qcow2"))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := d.act(ctx, d.server.ID, map[string]any{"createImage": map[string]any{"name": "bench"}}); err != nil {
		return 0, err
	}
	for {
		info, err := os.Stat(path)
		if err == nil && info.Size() > 0 {
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) || time.Since(start) > handTimeout {
			return 0, fmt.Errorf("wait until QEMU copies the disk: %w", err)
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
	began := time.Since(start)
	return began, d.dropImages(ctx, d.server.ID)
}

// dropImages waits until a server's image is complete, and deletes it.
func (t *theater) dropImages(ctx context.Context, server string) error {
	if _, err := t.settled(ctx, server, "ACTIVE"); err != nil {
		return err
	}
	var listed struct {
		Images []struct{ ID, Name, Status string }
	}
	if err := t.admin.get(ctx, "/image/v2/images", &listed); err != nil {
		return err
	}
	for _, img := range listed.Images {
		switch {
		case img.ID == t.scene.image:
			continue
		case img.Status != "active":
			return fmt.Errorf("image %s of server %s is %s", img.ID, server, img.Status)
		}
		if err := t.admin.delete(ctx, "/image/v2/images/"+img.ID); err != nil {
			return err
		}
	}
	return nil
}

// endBackup waits until libvirt does nothing on the twin any more, and removes the copy.
func (d *duet) endBackup(ctx context.Context) error {
	for {
		said, _, err := d.hands.do(ctx, "domjobinfo", d.twin.name)
		if err != nil {
			return err
		}
		if strings.Contains(said, "None") {
			return d.twin.remove(backupFile)
		}
		if err := sleep(ctx, statePoll); err != nil {
			return err
		}
	}
}
