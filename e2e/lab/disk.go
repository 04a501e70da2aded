package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// releaseTimeout bounds the wait for the kernel to let go of a loop device after its last mount went.
	releaseTimeout = 10 * time.Second
	releasePoll    = 10 * time.Millisecond

	// ext4Shutdown is EXT4_IOC_SHUTDOWN and ext4NoLogFlush its argument EXT4_GOING_FLAGS_NOLOGFLUSH
	// (linux/fs/ext4/ext4.h): stop now, and write neither data nor journal.
	ext4Shutdown   = 0x8004587D
	ext4NoLogFlush = 2
)

// disk is a host's disk: a sparse file with an ext4 file system. The host mounts it through a loop device.
type disk struct {
	path string
}

func newDisk(path string, sizeMiB int) (*disk, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make disk: %w", err)
	}
	err = f.Truncate(int64(sizeMiB) << 20)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("make disk: %w", err)
	}
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1",
		path).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("make file system: %w: %s", err, out)
	}
	return &disk{path: path}, nil
}

// shutdown stops the file system that f is on, as a power cut does: what was not synced is lost.
func shutdown(f *os.File) error {
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, ext4NoLogFlush); err != nil {
		return fmt.Errorf("shut down file system of %s: %w", f.Name(), err)
	}
	return nil
}

// freezeCall and thawCall are FIFREEZE and FITHAW of linux/fs.h.
const (
	freezeCall = 0xC0045877
	thawCall   = 0xC0045878
)

// FreezeDisk makes the host's disk hang, as with a failing controller: whoever writes or syncs waits until
// ThawDisk or PowerCut. Freezing one that is frozen is not an error.
func (h *Host) FreezeDisk() error { return h.stall(freezeCall, true) }

// ThawDisk lets the writers go on.
func (h *Host) ThawDisk() error { return h.stall(thawCall, false) }

func (h *Host) stall(call uint, frozen bool) error {
	path, err := h.Path(h.DataDir())
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("stall disk of %s: %w", h.Name, err)
	}
	defer f.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.frozen == frozen {
		return nil
	}
	if err := unix.IoctlSetInt(int(f.Fd()), call, 0); err != nil {
		return fmt.Errorf("stall disk of %s: %w", h.Name, err)
	}
	h.frozen = frozen
	return nil
}

// release lets the writers of a frozen disk go, into a file system that takes nothing any more: they could not
// even be killed while they wait.
func release(f *os.File) error {
	if err := shutdown(f); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(f.Fd()), thawCall, 0); err != nil {
		return fmt.Errorf("thaw %s: %w", f.Name(), err)
	}
	return nil
}

// waitReleased waits until no loop device uses the disk. A second one on the same file would corrupt it.
func (d *disk) waitReleased() error {
	for deadline := time.Now().Add(releaseTimeout); ; time.Sleep(releasePoll) {
		loops, err := loopDevices()
		if err != nil {
			return err
		}
		device, used := loops[d.path]
		if !used {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("release disk %s: %s still uses it after %s", d.path, device, releaseTimeout)
		}
	}
}

// loopDevices returns the loop devices of the machine by their backing file. Files that are gone, or not what they were, are not
// among them.
func loopDevices() (map[string]string, error) {
	bound, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	loops := map[string]string{}
	for _, b := range bound {
		device := "/dev/" + filepath.Base(filepath.Dir(b))
		file, err := backingFile(device)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) {
			continue // Released meanwhile, or of a file that is gone.
		}
		if err != nil {
			return nil, fmt.Errorf("read loop device: %w", err)
		}
		if file != "" {
			loops[file] = device
		}
	}
	return loops, nil
}

// backingFile returns the file that a loop device was given, or "" if another one now has its name. It asks the device, not sysfs:
// the path there loses its beginning when the file was opened below a mount that has gone since, as a host's mounts do.
func backingFile(device string) (string, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask %s for its file: %w", device, err)
	}
	name := unix.ByteSliceToString(info.File_name[:])
	var now unix.Stat_t
	if err := unix.Stat(name, &now); err != nil {
		return "", fmt.Errorf("look at %s: %w", name, err)
	}
	if now.Dev != info.Device || now.Ino != info.Inode {
		return "", nil
	}
	return name, nil
}
