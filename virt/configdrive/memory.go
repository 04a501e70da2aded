package configdrive

import (
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/backend"
)

// memory is a growing in-memory disk. The ISO writer ignores some write errors, so it writes here, where none
// happen, and the image goes to disk with every error looked at.
type memory struct {
	data []byte
	at   int64
}

// WriteAt grows the disk as needed.
func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	return copy(m.data[off:], p), nil
}

// ReadAt reads as io.ReaderAt says.
func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Read reads on from the present position.
func (m *memory) Read(p []byte) (int, error) {
	n, err := m.ReadAt(p, m.at)
	m.at += int64(n)
	return n, err
}

// Seek sets the position of the next Read.
func (m *memory) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += m.at
	case io.SeekEnd:
		offset += int64(len(m.data))
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	m.at = offset
	return offset, nil
}

// Close does nothing; the data stays readable.
func (m *memory) Close() error { return nil }

// Stat describes the disk as a regular file.
func (m *memory) Stat() (fs.FileInfo, error) { return memoryInfo{size: int64(len(m.data))}, nil }

// Sys has no file to give.
func (m *memory) Sys() (*os.File, error) { return nil, backend.ErrNotSuitable }

// Path has no name to give.
func (m *memory) Path() string { return "" }

// Writable gives the disk itself.
func (m *memory) Writable() (backend.WritableFile, error) { return m, nil }

type memoryInfo struct{ size int64 }

func (memoryInfo) Name() string       { return "config drive" }
func (i memoryInfo) Size() int64      { return i.size }
func (memoryInfo) Mode() fs.FileMode  { return isoMode }
func (memoryInfo) ModTime() time.Time { return epoch }
func (memoryInfo) IsDir() bool        { return false }
func (memoryInfo) Sys() any           { return nil }
