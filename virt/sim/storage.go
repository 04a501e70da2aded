package sim

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/virt"
)

// The formats of simulated disks, in QEMU's words.
const (
	formatQCOW2 = "qcow2"
	formatRaw   = "raw"
)

// storage is the disks of an instance on this host: all that were made for any of its epochs, and the volumes of
// its domain. It is a value, as record is.
type storage struct {
	Epoch   uint64   `json:"epoch,omitempty"` // whose files the domain uses
	Files   []file   `json:"files,omitempty"`
	Volumes []volume `json:"volumes,omitempty"`
}

// file is one of the instance's own disks.
type file struct {
	Epoch   uint64      `json:"epoch,omitempty"`
	ID      virt.DiskID `json:"id"`
	Format  string      `json:"format"`
	Bytes   int64       `json:"bytes,omitempty"` // virtual size
	Overlay bool        `json:"overlay,omitempty"`
	Base    string      `json:"base,omitempty"` // path of the image that an overlay lies on
	Notes   notes       `json:"notes,omitzero"`
}

// volume is a disk that Build did not make. Its passphrase, if it has one, is not kept.
type volume struct {
	ID     virt.DiskID `json:"id"`
	Path   string      `json:"path"`
	Format string      `json:"format"`
	Boot   bool        `json:"boot,omitempty"`
	Serial string      `json:"serial,omitempty"`
}

func volumeOf(d virt.Disk) volume {
	return volume{ID: d.ID, Path: d.Path, Format: d.Format, Boot: d.Boot, Serial: d.Serial}
}

func (s *storage) index(epoch uint64, id virt.DiskID) int {
	return slices.IndexFunc(s.Files, func(f file) bool { return f.Epoch == epoch && f.ID == id })
}

// own gives a disk of the domain's own for changing, in a slice that no other record has; nil: it has no such.
func (s *storage) own(id virt.DiskID) *file {
	i := s.index(s.Epoch, id)
	if i < 0 {
		return nil
	}
	s.Files = slices.Clone(s.Files)
	return &s.Files[i]
}

// bootFile is the disk that the guest boots from; nil: a volume.
func (s *storage) bootFile() *file {
	if slices.ContainsFunc(s.Volumes, func(v volume) bool { return v.Boot }) && s.index(s.Epoch, virt.DiskRescue) < 0 {
		return nil
	}
	for _, id := range []virt.DiskID{virt.DiskRescue, virt.DiskRoot} {
		if f := s.own(id); f != nil {
			return f
		}
	}
	return nil
}

// countBoot writes one more boot onto the disk that the guest boots from and tells how many there were.
func (s *storage) countBoot() int {
	f := s.bootFile()
	if f == nil {
		return 0
	}
	f.Notes.Boots++
	return f.Notes.Boots
}

func (s *storage) volume(id virt.DiskID) int {
	return slices.IndexFunc(s.Volumes, func(v volume) bool { return v.ID == id })
}

// put replaces a file, or adds it.
func (s *storage) put(f file) {
	s.Files = slices.DeleteFunc(slices.Clone(s.Files), func(o file) bool { return o.Epoch == f.Epoch && o.ID == f.ID })
	s.Files = append(s.Files, f)
}

// built gives the storage after a Build: what exists stays as it is, except for the rescue disk.
func (s storage) built(g virt.Guest) (storage, error) {
	s.Epoch = g.DiskEpoch
	s.Files = slices.DeleteFunc(slices.Clone(s.Files), func(f file) bool { return f.ID == virt.DiskRescue })
	s.Volumes = nil
	add := func(f file) {
		if s.index(f.Epoch, f.ID) < 0 {
			s.Files = append(s.Files, f)
		}
	}
	if !g.Root.None {
		f, err := overlay(g.DiskEpoch, virt.DiskRoot, g.Root)
		if err != nil {
			return s, err
		}
		add(f)
	}
	if g.Rescue != nil {
		f, err := overlay(g.DiskEpoch, virt.DiskRescue, *g.Rescue)
		if err != nil {
			return s, err
		}
		add(f)
	}
	for _, d := range g.Disks {
		if d.Path != "" {
			s.Volumes = append(s.Volumes, volumeOf(d))
		} else {
			add(file{Epoch: g.DiskEpoch, ID: d.ID, Format: formatRaw, Bytes: d.Make.SizeMiB << 20})
		}
	}
	return s, nil
}

// overlay is a new disk that shows what is on its base image.
func overlay(epoch uint64, id virt.DiskID, root virt.RootDisk) (file, error) {
	f := file{Epoch: epoch, ID: id, Format: formatQCOW2, Bytes: root.SizeGiB << 30, Overlay: root.Base != "", Base: root.Base}
	if root.Base == "" {
		return f, nil
	}
	found, bytes, err := readBase(root.Base, root.BaseFormat)
	if err != nil {
		return f, fmt.Errorf("read base image %s: %w", root.Base, err)
	}
	f.Notes = found
	if f.Bytes == 0 {
		f.Bytes = bytes
	}
	return f, nil
}

// without gives the storage after a RemoveDisks, and whether the domain uses one of the files that went.
func (s storage) without(through, keep uint64) (left storage, used bool) {
	left = s
	left.Files = slices.DeleteFunc(slices.Clone(s.Files), func(f file) bool {
		gone := f.Epoch <= through && (keep == 0 || f.Epoch != keep)
		used = used || gone && f.Epoch == s.Epoch
		return gone
	})
	return left, used
}

// checkVolume refuses what no hypervisor could attach.
func checkVolume(d virt.Disk) error {
	switch {
	case d.ID == "" || made(d.ID):
		return fmt.Errorf("%q is no ID of a volume", d.ID)
	case d.Make != virt.MadeDisk{}:
		return fmt.Errorf("disk %s has a path and is to be made as well", d.ID)
	case !filepath.IsAbs(d.Path) || filepath.Clean(d.Path) != d.Path:
		return fmt.Errorf("disk %s: %q is not a clean absolute path", d.ID, d.Path)
	case d.Format != formatRaw && d.Format != formatQCOW2:
		return fmt.Errorf("disk %s: its format %q is not known", d.ID, d.Format)
	}
	return nil
}

// made tells whether a disk with the ID would be one that Build makes.
func made(id virt.DiskID) bool {
	return id == virt.DiskRoot || id == virt.DiskSwap || id == virt.DiskRescue ||
		len(id) >= len(virt.DiskEphemeral) && id[:len(virt.DiskEphemeral)] == virt.DiskEphemeral
}

// checkDisks refuses disks that no hypervisor could build.
func checkDisks(disks []virt.Disk) error {
	seen := map[virt.DiskID]bool{virt.DiskRoot: true, virt.DiskRescue: true}
	for _, d := range disks {
		if d.Path != "" {
			if err := checkVolume(d); err != nil {
				return err
			}
		} else if d.ID == "" || d.Make.SizeMiB <= 0 {
			return fmt.Errorf("disk %q has neither a size nor a path", d.ID)
		}
		if seen[d.ID] {
			return fmt.Errorf("two disks are called %q", d.ID)
		}
		seen[d.ID] = true
	}
	return nil
}

func checkRoot(r virt.RootDisk) error {
	switch {
	case r.SizeGiB < 0:
		return fmt.Errorf("a disk of %d GiB", r.SizeGiB)
	case r.Base != "" && r.BaseFormat == "":
		return errors.New("the base image's format is not named")
	}
	return nil
}

// write lets the guest append a line to the disk that it boots from, and tells how many bytes of text are on it.
func (r *record) write(text string) (bytes int, err error) {
	f := r.Storage.bootFile()
	switch {
	case f == nil:
		return 0, errors.New("it boots from a volume, which keeps no text")
	case len(f.Notes.Text)+len(text)+1 > maxText:
		return 0, errors.New("no space left on the device")
	}
	f.Notes.Text += strings.ToValidUTF8(text, "?") + "\n"
	return len(f.Notes.Text), nil
}
