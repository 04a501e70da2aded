package configdrive

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Label is the volume label by which guests find the drive.
const Label = "config-2"

// MaxSize bounds the content of one drive, in bytes. Nova's config drive of the vfat kind has the same size.
const MaxSize = 64 << 20

const (
	dirMode  fs.FileMode = 0o755 // inside the image, where the guest's root owns everything
	fileMode fs.FileMode = 0o644
	isoMode  fs.FileMode = 0o600 // the image holds passwords; the hypervisor hands it to QEMU
)

// epoch is the time that every file on a drive carries.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// WriteISO packs files into an ISO image at path, replacing what is there in one step. A crash leaves at most
// a file or directory named path.* behind, which lies beside the drive and goes with it.
func WriteISO(path string, files map[string][]byte) error {
	image, err := Image(filepath.Dir(path), files)
	if err != nil {
		return fmt.Errorf("pack config drive %s: %w", path, err)
	}
	if err := replace(path, image); err != nil {
		return fmt.Errorf("write config drive: %w", err)
	}
	return nil
}

// Image packs files into an ISO image in memory. It stages them in a private directory below dir, which it
// removes again.
func Image(dir string, files map[string][]byte) ([]byte, error) {
	total := 0
	for p, content := range files {
		if !fs.ValidPath(p) || p == "." {
			return nil, fmt.Errorf("path %q is not a plain relative path", p)
		}
		total += len(content)
	}
	if total > MaxSize {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", total, MaxSize)
	}
	stage, err := os.MkdirTemp(dir, "disk.config.stage-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	if err := stageFiles(stage, files); err != nil {
		return nil, err
	}
	m := &memory{}
	iso, err := iso9660.Create(m, 0, 0, 0, stage)
	if err != nil {
		return nil, err
	}
	err = iso.Finalize(iso9660.FinalizeOptions{RockRidge: true, Joliet: true, VolumeIdentifier: Label})
	if err != nil {
		return nil, err
	}
	if err := repairJoliet(m.data); err != nil {
		return nil, err
	}
	return pad(m.data), nil
}

const (
	isoSector = 2048
	// isoLeast is the size of the smallest image. Programs that look for labels read the places of many file systems
	// at once, up to 68 KiB behind the beginning, and take a disk that ends before that for unreadable.
	isoLeast = 128 << 10
)

// pad makes the image end with a whole sector: a guest cannot read a part of one at the end of a disk.
func pad(image []byte) []byte {
	size := max(isoLeast, (len(image)+isoSector-1)/isoSector*isoSector)
	return append(image, make([]byte, size-len(image))...)
}

// stageFiles lays the files out below dir with fixed modes and times.
func stageFiles(dir string, files map[string][]byte) error {
	for _, p := range sortedPaths(files) {
		full := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(full), dirMode); err != nil {
			return err
		}
		if err := os.WriteFile(full, files[p], fileMode); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != dir {
			if err := os.Chmod(p, dirMode); err != nil { // whatever the umask made of it
				return err
			}
		}
		return os.Chtimes(p, epoch, epoch)
	})
}

// replace writes a file beside path, syncs it and renames it over path.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Chmod(isoMode); err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
