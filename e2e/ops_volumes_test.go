package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// Guests whose disks are volumes: on one node, or in a directory that both nodes have. They are booted from all that a volume may
// begin as, saved, moved alive without their disk, and what was written to a volume is there whoever has it next.
func TestOperations_Volumes(t *testing.T) {
	small := buildSmall(t)
	shared := t.TempDir()
	s := newStage(t, cloud.Options{Nodes: 2, Flags: []string{"--shared-dir", shared}})
	s.furnishOps(small)
	var l, m *life
	s.run("it boots from a volume that there is", func(s *stage) { l = s.fromVolume() })
	s.run("it is saved, and others go on from there", func(s *stage) { l.on(s).saveVolumes() })
	s.run("the newest of its backups is kept", func(s *stage) { l.on(s).backupVolumes() })
	s.run("it is shelved and brought back", func(s *stage) { l.on(s).shelveVolumes() })
	s.run("its volume outlives it, and boots the next one", func(s *stage) { l.on(s).outlived() })
	s.run("another boots from an image in a new shared volume", func(s *stage) { m = s.fromImage() })
	s.run("an encrypted volume comes, and hides what is on it", func(s *stage) { m.on(s).encrypted(shared) })
	s.run("its volumes stay where they are when it moves alive", func(s *stage) { m.on(s).moveWithoutDisks() })
	s.run("its volume grows under it", func(s *stage) { m.on(s).extend() })
	s.run("its volumes go with it", func(s *stage) { m.on(s).terminated() })
}

// disk is one entry of a server's block devices.
type disk map[string]any

// fromDisks makes a server whose disks are said in full, or in its image, and waits until its guest counts.
func (s *stage) fromDisks(name, image string, disks ...disk) *life {
	s.t.Helper()
	return s.arrived(s.ordered(name, image, disks...))
}

// ordered asks for such a server, and returns its ID.
func (s *stage) ordered(name, image string, disks ...disk) string {
	s.t.Helper()
	one := s.plainServer(name)
	if one["imageRef"] = image; len(disks) > 0 {
		one["block_device_mapping_v2"] = disks
	}
	return s.create(s.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": one},
		Header: map[string]string{"X-OpenStack-Nova-API-Version": "2.79"}})
}

// arrived waits until a server's guest counts.
func (s *stage) arrived(id string) *life {
	s.t.Helper()
	v := s.settled(id)
	if v.Status != "ACTIVE" {
		s.t.Fatalf("server %s is %s: %s", v.Name, v.Status, v.Fault.Message)
	}
	return s.meet(s.other(v.Host), v)
}

// root is the disk that a server boots from.
func root(source, uuid string, terminated bool) disk {
	return disk{"source_type": source, "destination_type": "volume", "uuid": uuid, "boot_index": 0, "delete_on_termination": terminated}
}

// release deletes a server, and waits until it is gone.
func (l *life) release() {
	l.t.Helper()
	path := "/compute/v2.1/servers/" + l.ID
	l.must(l.Do(l.ctx, l.via, cloud.Request{Method: http.MethodDelete, Path: path}, nil, http.StatusNoContent))
	l.goes(path)
}

// goes waits until there is something no more.
func (s *stage) goes(path string) {
	s.t.Helper()
	s.eventually(path+" is gone", actLimit, func() error {
		a, err := s.Ask(s.ctx, s.Nodes[0], cloud.Request{Path: path})
		if err == nil && a.Status != http.StatusNotFound {
			err = fmt.Errorf("it is there: %s", a.Body)
		}
		return err
	})
}

func (s *stage) imageID(name string) string {
	s.t.Helper()
	return anyUUID.FindString(s.openstack(s.Nodes[0], "image", "show", "-f", "value", "-c", "id", name))
}

// A volume is made of an image, and a server boots from it.
func (s *stage) fromVolume() *life {
	id := s.newVolume("--size", "1", "--image", opsImage, "bootable")
	out := s.openstack(s.Nodes[0], "server", "create", "--flavor", opsSmall, "--network", "lan", "--volume", id, "-f", "value", "-c", "id", "volumed")
	return s.arrived(anyUUID.FindString(out))
}

// volumesOf lists the volumes of a server.
func (s *stage) volumesOf(id string) (ids []string) {
	s.t.Helper()
	var list struct {
		VolumeAttachments []struct{ VolumeID string }
	}
	s.must(s.Get(s.ctx, s.Nodes[0], "/compute/v2.1/servers/"+id+"/os-volume_attachments", &list))
	for _, a := range list.VolumeAttachments {
		ids = append(ids, a.VolumeID)
	}
	return ids
}

// A server that boots from a volume is saved as an image that names a snapshot of the volume. A server of that image goes on from
// there, and one that is made of the snapshot by itself does, too. The volumes that they get go with them when that was asked for.
func (l *life) saveVolumes() {
	before := l.told()
	image := l.saved(l.openstack(l.via, "server", "image", "create", "--name", "saved", "-f", "value", "-c", "id", l.ID))
	l.imageBecomes(image, "active")
	l.goesOn(before)
	var list struct{ Snapshots []struct{ ID, Status string } }
	l.must(l.Get(l.ctx, l.via, "/volume/v3/snapshots", &list))
	if len(list.Snapshots) != 1 || list.Snapshots[0].Status != "available" {
		l.t.Fatalf("the snapshots are %+v", list.Snapshots)
	}
	snapshot := list.Snapshots[0].ID
	kept := l.ordered("of the image", image)
	for _, id := range []string{l.ordered("of the snapshot", "", root("snapshot", snapshot, true)), kept} {
		copied := l.arrived(id)
		if found := copied.told().Last(); found.Number < 2 || found.Found < before.Count {
			l.t.Errorf("the one %s found %+v on its disk, the original was at %d before", copied.Name, found, before.Count)
		}
		volume := "/volume/v3/volumes/" + l.volumesOf(copied.ID)[0]
		copied.release()
		if id == kept {
			l.must(l.Do(l.ctx, l.via, cloud.Request{Method: http.MethodDelete, Path: volume}, nil, http.StatusAccepted))
		}
		l.goes(volume)
	}
	l.openstack(l.via, "image", "delete", image)
	l.openstack(l.via, "volume", "snapshot", "delete", snapshot)
}

// Two backups are made, and one is to be kept: the first goes, with its snapshot of the volume.
func (l *life) backupVolumes() {
	before := l.told()
	for i := range 2 {
		l.acts("createBackup", map[string]any{"name": fmt.Sprint("daily-", i), "backup_type": "daily", "rotation": 1})
		l.become("ACTIVE")
	}
	l.eventually("one backup is left", actLimit, func() error {
		var images struct {
			Images []struct{ Name, Status string }
		}
		var list struct {
			Snapshots []struct{ Name, Status string }
		}
		err := errors.Join(l.Get(l.ctx, l.via, "/image/v2/images?backup_type=daily", &images), l.Get(l.ctx, l.via, "/volume/v3/snapshots", &list))
		if err != nil || len(images.Images) != 1 || images.Images[0].Name != "daily-1" || images.Images[0].Status != "active" || len(list.Snapshots) != 1 {
			return fmt.Errorf("there are %+v and %+v, %v", images, list, err)
		}
		return nil
	})
	l.goesOn(before)
}

// Put away, the server is on no node, and its volume is still its own. Brought back it finds all on it.
func (l *life) shelveVolumes() {
	before, volumes := l.told(), l.volumesOf(l.ID)
	l.acts("shelve", nil)
	l.become("SHELVED_OFFLOADED")
	if all, err := l.Lab.QEMUs(); err != nil || len(all) > 0 {
		l.t.Errorf("a shelved guest has a QEMU: %+v, %v", all, err)
	}
	l.acts("unshelve", nil)
	l.become("ACTIVE")
	l.via = l.other(l.Host)
	l.beginsAnew(before)
	if now := l.volumesOf(l.ID); !slices.Equal(now, volumes) {
		l.t.Errorf("it had the volumes %v, and has %v", volumes, now)
	}
}

// The server is deleted, and its volume is not. It boots another one, which finds all on it.
func (l *life) outlived() {
	before := l.told()
	volume := l.volumesOf(l.ID)[0]
	l.release()
	l.volumeBecomes(volume, "available")
	next := l.fromDisks("the next", "", root("volume", volume, false))
	if found := next.told().Last(); found.Number < 2 || found.Found < before.Count {
		l.t.Errorf("it found %+v on the volume, and %d was written before", found, before.Count)
	}
	next.release()
	l.volumeBecomes(volume, "available")
}

// An image becomes a volume in the directory that both nodes have, for this server and as long as there is it.
func (s *stage) fromImage() *life {
	of := root("image", s.imageID(opsImage), true)
	of["volume_size"], of["volume_type"] = 1, "shared"
	return s.fromDisks("sharing", "", of)
}

const (
	plainSecret = "nobody but the guest reads this"
	readSecret  = " bs=4096 count=1 iflag=direct 2>/dev/null | head -n 1"
)

// An encrypted volume is given to the guest while it runs. The guest finds on it what it wrote; in the file it cannot be found.
func (l *life) encrypted(shared string) {
	before := l.told()
	id := l.newVolume("--size", "1", "--type", "shared-encrypted", "hidden")
	is := func(d guest.Device) bool {
		return d.Bytes == 1<<30 && d.Serial != "" && strings.HasPrefix(id, d.Serial)
	}
	for _, again := range []bool{false, true} {
		l.openstack(l.via, "server", "add", "volume", l.ID, id)
		disk := l.device("the encrypted volume", is)
		if !again {
			l.order("echo " + plainSecret + " | dd of=/dev/" + disk + " bs=4096 conv=sync,fsync")
			l.openstack(l.via, "server", "remove", "volume", l.ID, id)
			l.gone(disk)
			l.volumeBecomes(id, "available")
		} else if said := l.order("dd if=/dev/" + disk + readSecret); said != plainSecret {
			l.t.Errorf("the encrypted volume holds %q", said)
		}
	}
	l.goesOn(before)
	l.must(filepath.WalkDir(filepath.Join(shared, "volumes", id), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := beginning(path)
		if bytes.Contains(b, []byte(plainSecret)) {
			l.t.Errorf("%s tells the secret", path)
		}
		return errors.Join(err, wantLUKS(b))
	}))
}

// beginning reads as much of a file as a guest wrote to its volume, and the header before that.
func beginning(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 8<<20)
	n, err := f.ReadAt(b, 0)
	if n == 0 {
		return nil, err
	}
	return b[:n], nil
}

func wantLUKS(b []byte) error {
	if !bytes.HasPrefix(b, []byte("LUKS")) {
		return errors.New("the file of an encrypted volume is no LUKS container")
	}
	return nil
}

// Both its volumes are where the other node has them, too: it moves alive without a byte of them, and back.
func (l *life) moveWithoutDisks() {
	for range 2 {
		before, from, began := l.told(), l.Host, time.Now()
		l.acts("os-migrateLive", map[string]any{"host": l.via.Name(), "block_migration": false})
		l.become("ACTIVE")
		if l.Host == from {
			l.t.Fatalf("it is still on %s", from)
		}
		l.took("live migration without disks", began)
		l.via = l.node(from)
		l.goesOn(before)
		l.order("sync")
	}
}

// A volume is made larger while the guest has it, and the guest sees that.
func (l *life) extend() {
	before := l.told()
	var id string
	for _, one := range l.volumesOf(l.ID) {
		var got struct{ Volume struct{ Encrypted bool } }
		l.must(l.Get(l.ctx, l.via, "/volume/v3/volumes/"+one, &got))
		if got.Volume.Encrypted {
			id = one
		}
	}
	l.openstack(l.via, "--os-volume-api-version", "3.42", "volume", "set", "--size", "2", id)
	disk := l.device("2 GiB of the volume", func(d guest.Device) bool {
		return d.Bytes == 2<<30 && d.Serial != "" && strings.HasPrefix(id, d.Serial)
	})
	l.volumeBecomes(id, "in-use")
	if said := l.order("dd if=/dev/" + disk + readSecret); said != plainSecret {
		l.t.Errorf("the grown volume holds %q", said)
	}
	l.order("echo at the end | dd of=/dev/" + disk + " bs=4096 seek=524287 conv=sync,fsync")
	l.goesOn(before)
}

// The server is deleted with the volume that was made for it, and not with the one that it was given.
func (l *life) terminated() {
	volumes := l.volumesOf(l.ID)
	l.release()
	left := 0
	for _, id := range volumes {
		var got struct{ Volume struct{ Encrypted bool } }
		if l.Get(l.ctx, l.via, "/volume/v3/volumes/"+id, &got) == nil && got.Volume.Encrypted {
			left++
			l.volumeBecomes(id, "available")
			l.openstack(l.via, "volume", "delete", id)
		}
		l.goes("/volume/v3/volumes/" + id)
	}
	if len(volumes) != 2 || left != 1 {
		l.t.Errorf("it had the volumes %v, of which %d outlived it", volumes, left)
	}
}
