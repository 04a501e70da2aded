package chunk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"
)

// What is checked is what came, to the last byte, and a refusal takes back every chunk.
func TestImportChecked_RefusedLeavesNothing(t *testing.T) {
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := append(bytes.Repeat([]byte{1}, Size), make([]byte, Size+5)...)
	data[len(data)-1] = 7
	refusal := errors.New("refused")
	_, err = s.ImportChecked(t.Context(), bytes.NewReader(data), -1, 0, func(r io.ReaderAt, size int64) error {
		got, err := io.ReadAll(io.NewSectionReader(r, 0, size))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("the check saw %d bytes, %v", len(got), err)
		}
		return refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("error: %v", err)
	}
	left := 0
	err = filepath.WalkDir(s.chunks, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left++
		}
		return err
	})
	if err != nil || left != 0 {
		t.Errorf("%d chunks stayed, %v", left, err)
	}
	res, err := s.ImportChecked(t.Context(), bytes.NewReader(data), int64(len(data)), 0, func(io.ReaderAt, int64) error { return nil })
	if err != nil || res.Manifest.Size != int64(len(data)) || !s.Complete(res.Root) {
		t.Errorf("%+v, %v", res.Manifest.Size, err)
	}
}
