package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// LUKS is the format of an encrypted disk: LUKS version 1, as QEMU's block layer reads it without help of the host's kernel.
const LUKS Format = "luks"

// luksIterations is how long, in milliseconds, opening a disk may keep a processor busy. Slowness protects passphrases that people
// choose; ours are random keys.
const luksIterations = 10

// QEMU measures how fast the processor derives keys, and up to its version 9.1 refuses the disk when the clock of processor time did
// not move meanwhile: it moves by the kernel's tick, and a fast processor is done before. SHA-512 takes longer than one tick, and
// luksTries is for the processors to come.
const (
	luksHash    = "sha512"
	luksTries   = 20
	luksTooFast = "Unable to get accurate CPU usage"
)

// CreateLUKS makes an encrypted disk at path that reads as zeros, with room for sizeBytes. If path exists, the error wraps
// fs.ErrExist and the file is left alone. The passphrase is text.
func CreateLUKS(ctx context.Context, path string, sizeBytes int64, passphrase []byte) error {
	err := errors.Join(checkPaths(path), checkSize(sizeBytes))
	if err == nil {
		err = whole(path, func(temp string) error { return formatLUKS(ctx, temp, sizeBytes, passphrase) })
	}
	if err != nil {
		return fmt.Errorf("create encrypted disk %s: %w", path, err)
	}
	return nil
}

func formatLUKS(ctx context.Context, path string, sizeBytes int64, passphrase []byte) error {
	return withSecret(passphrase, func(object string) error {
		for try := 1; ; try++ {
			_, err := run(ctx, quick, "create", "-q", "-f", string(LUKS), "--object", object,
				"-o", "key-secret=sec0,hash-alg="+luksHash+",iter-time="+strconv.Itoa(luksIterations), "--", path, strconv.FormatInt(sizeBytes, 10))
			if err == nil || try == luksTries || !strings.Contains(err.Error(), luksTooFast) {
				return err
			}
		}
	})
}

// ConvertToLUKS writes the image at from, which is in format as, to an encrypted disk at path that has room for sizeBytes, which must not
// be less than the image. If path exists, the error wraps fs.ErrExist and the file is left alone.
func ConvertToLUKS(ctx context.Context, from string, as Format, path string, sizeBytes int64, passphrase []byte) error {
	err := errors.Join(checkPaths(from, path), checkSize(sizeBytes))
	if err == nil && !readable(as) {
		err = fmt.Errorf("from %q is not supported", as)
	}
	if err == nil {
		err = whole(path, func(temp string) error {
			if err := formatLUKS(ctx, temp, sizeBytes, passphrase); err != nil {
				return err
			}
			return withSecret(passphrase, func(object string) error {
				_, err := run(ctx, long, "convert", "-q", "-n", "--object", object, "-f", string(as), "--target-image-opts", "--",
					from, "driver=luks,key-secret=sec0,file.filename="+escapeOption(temp))
				return err
			})
		})
	}
	if err != nil {
		return fmt.Errorf("encrypt %s to %s: %w", from, path, err)
	}
	return nil
}

// ResizeLUKS grows an encrypted disk of a guest that is off; the size that it has already is not an error.
func ResizeLUKS(ctx context.Context, path string, sizeBytes int64, passphrase []byte) error {
	now, err := SizeLUKS(ctx, path)
	switch {
	case err != nil:
	case sizeBytes < now:
		err = fmt.Errorf("%d bytes are less than the present %d, and shrinking loses data", sizeBytes, now)
	case sizeBytes > now:
		err = withSecret(passphrase, func(object string) error {
			_, err := run(ctx, quick, "resize", "-q", "--object", object, "--image-opts", "--",
				"driver=luks,key-secret=sec0,file.filename="+escapeOption(path), strconv.FormatInt(sizeBytes, 10))
			return err
		})
		if err == nil {
			err = syncFile(path)
		}
	}
	if err != nil {
		return fmt.Errorf("resize %s: %w", path, err)
	}
	return nil
}

// SizeLUKS is how many bytes an encrypted disk has room for. It needs no passphrase.
func SizeLUKS(ctx context.Context, path string) (int64, error) {
	if err := checkPaths(path); err != nil {
		return 0, err
	}
	out, err := run(ctx, quick, "info", "--output=json", "-U", "-f", string(LUKS), "--", path)
	if err != nil {
		return 0, err
	}
	info, err := parseInfo(out)
	if err != nil {
		return 0, err
	}
	if info.Format != LUKS {
		return 0, fmt.Errorf("%s is %q, not encrypted", path, info.Format)
	}
	return info.VirtualSize, nil
}

// withSecret gives qemu-img a passphrase in a file that nobody else reads and that goes at once: arguments can be seen by everybody.
func withSecret(passphrase []byte, f func(object string) error) error {
	file, err := os.CreateTemp(secretDir(), "kilonova-*")
	if err != nil {
		return fmt.Errorf("hand over a passphrase: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(passphrase)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("hand over a passphrase: %w", err)
	}
	return f("secret,id=sec0,file=" + escapeOption(file.Name()))
}

// secretDir is in memory where the host has such a place; "" is the usual one for temporary files.
func secretDir() string {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		return memory
	}
	return ""
}

// escapeOption writes a path as a value among QEMU's comma-separated options.
func escapeOption(path string) string {
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] == ',' {
			out = append(out, ',')
		}
		out = append(out, path[i])
	}
	return string(out)
}
