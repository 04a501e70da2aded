package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"
)

// diskMode keeps disks to their owner; libvirt gives them to QEMU's user while a guest runs.
const diskMode = 0o600

// CreateRaw makes a raw file at path that reads as zeros and takes no room yet. If path exists, the error wraps
// fs.ErrExist and the file is left alone.
func CreateRaw(path string, sizeBytes int64) error {
	if err := createRaw(path, sizeBytes, func(string) error { return nil }); err != nil {
		return fmt.Errorf("create disk %s: %w", path, err)
	}
	return nil
}

// CreateSwap makes a raw file at path that Linux takes as swap space.
func CreateSwap(path string, sizeBytes int64) error {
	if err := createRaw(path, sizeBytes, func(temp string) error { return writeSwap(temp, sizeBytes) }); err != nil {
		return fmt.Errorf("create swap disk %s: %w", path, err)
	}
	return nil
}

// CreateExt4 makes a raw file at path that holds an empty ext4 file system with that label.
func CreateExt4(ctx context.Context, path string, sizeBytes int64, label string) error {
	err := createRaw(path, sizeBytes, func(temp string) error {
		_, err := runProgram(ctx, mkfs, quick, "-q", "-F", "-L", label, "--", temp)
		return err
	})
	if err != nil {
		return fmt.Errorf("create ext4 disk %s: %w", path, err)
	}
	return nil
}

func createRaw(path string, sizeBytes int64, format func(temp string) error) error {
	if err := errors.Join(checkPaths(path), checkSize(sizeBytes)); err != nil {
		return err
	}
	return whole(path, func(temp string) error {
		f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, diskMode)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Truncate(sizeBytes), f.Close()); err != nil {
			return err
		}
		return format(temp)
	})
}

// The swap header of Linux (union swap_header in include/linux/swap.h), in the byte order and page size of the
// machines that Kilonova runs on.
const (
	swapPage      = 4096
	swapSignature = "SWAPSPACE2"
	swapInfoAt    = 1024 // version, last page, bad pages (32 bits each), UUID, label
	swapMinPages  = 10
)

func writeSwap(path string, sizeBytes int64) error {
	pages := sizeBytes / swapPage
	if pages < swapMinPages || pages-1 > 1<<32-1 {
		return fmt.Errorf("%d bytes are too few or too many for swap space", sizeBytes)
	}
	header := make([]byte, swapPage)
	info := header[swapInfoAt:]
	binary.LittleEndian.PutUint32(info[0:], 1)
	binary.LittleEndian.PutUint32(info[4:], uint32(pages-1))
	id := uuid.New()
	copy(info[12:], id[:])
	copy(header[swapPage-len(swapSignature):], swapSignature)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(header, 0)
	return errors.Join(err, f.Close())
}
