package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Info is what qemu-img says about a disk file.
type Info struct {
	Format        Format
	VirtualSize   int64  // bytes that the guest sees
	ActualSize    int64  // bytes that the file takes on its file system
	Backing       string // the file that it reads from where it was not written; "": it stands alone
	BackingFormat Format // "": not recorded
	Encrypted     bool
	Dirty         bool // it was not closed cleanly
	Corrupt       bool // its own mark says that its structure is broken
}

// Stat reads the header of the file at path, which is in the given format. It may be in use by a guest. The
// backing file is not opened.
func Stat(ctx context.Context, path string, format Format) (Info, error) {
	info, err := stat(ctx, path, format)
	if err != nil {
		return Info{}, fmt.Errorf("stat disk %s: %w", path, err)
	}
	return info, nil
}

func stat(ctx context.Context, path string, format Format) (Info, error) {
	if err := checkPaths(path); err != nil {
		return Info{}, err
	}
	if !readable(format) {
		return Info{}, fmt.Errorf("format %q is not supported", format)
	}
	out, err := run(ctx, quick, "info", "--output=json", "-U", "-f", string(format), "--", path)
	if err != nil {
		return Info{}, err
	}
	info, err := parseInfo(out)
	if err == nil && info.Format != format {
		err = fmt.Errorf("asked about %q, told about %q", format, info.Format)
	}
	return info, err
}

// parseInfo decodes the answer of "qemu-img info --output=json" (type ImageInfo in QEMU's QAPI reference).
func parseInfo(out []byte) (Info, error) {
	var raw struct {
		Format        Format `json:"format"`
		VirtualSize   *int64 `json:"virtual-size"`
		ActualSize    int64  `json:"actual-size"`
		Backing       string `json:"full-backing-filename"`
		BackingName   string `json:"backing-filename"`
		BackingFormat Format `json:"backing-filename-format"`
		Encrypted     bool   `json:"encrypted"`
		Dirty         bool   `json:"dirty-flag"`
		Specific      struct {
			Data struct {
				Corrupt bool `json:"corrupt"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return Info{}, fmt.Errorf("decode the answer of qemu-img: %w", err)
	}
	if raw.Format == "" || raw.VirtualSize == nil || *raw.VirtualSize < 0 || raw.ActualSize < 0 {
		return Info{}, errors.New("the answer of qemu-img lacks the format or the size")
	}
	info := Info{
		Format: raw.Format, VirtualSize: *raw.VirtualSize, ActualSize: raw.ActualSize,
		Backing: raw.Backing, BackingFormat: raw.BackingFormat,
		Encrypted: raw.Encrypted, Dirty: raw.Dirty, Corrupt: raw.Specific.Data.Corrupt,
	}
	if info.Backing == "" {
		info.Backing = raw.BackingName
	}
	return info, nil
}
