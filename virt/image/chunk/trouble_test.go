package chunk_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt/image/chunk"
)

// killedDir tells the test program to be the process that is killed.
const killedDir = "KILONOVA_TEST_CHUNK_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled stores ever new images and says so after each.
func writeUntilKilled(dir string) {
	s, err := chunk.OpenStore(dir)
	if err != nil {
		os.Exit(3)
	}
	for seed := byte(0); ; seed++ {
		data := noise(seed, chunk.Size+1)
		w := s.NewWriter(0)
		if _, err := w.Write(data); err != nil {
			os.Exit(4)
		}
		r, err := w.Commit()
		if err != nil {
			os.Exit(5)
		}
		if _, err := os.Stdout.WriteString(r.Root.String() + "\n"); err != nil {
			os.Exit(6)
		}
	}
}

// The node loses its process at any moment of an upload. Whatever was acknowledged is whole, nothing that is
// there is wrong, and what was half written goes at the next start, but nothing else does.
func TestStore_KilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"

	temp := filepath.Join(dir, "images", "tmp")
	for _, name := range []string{"123.tmp", "keep.me"} {
		if err := os.WriteFile(filepath.Join(temp, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openAt(t, dir)
	if left := files(t, temp); len(left) != 1 || filepath.Base(left[0]) != "keep.me" {
		t.Errorf("in tmp: %v", left)
	}
	whole := strings.Split(out.String(), "\n")
	for seed, line := range whole[:len(whole)-1] {
		var root cluster.Hash
		for i := range root {
			root[i] = unhex(line[2*i])<<4 | unhex(line[2*i+1])
		}
		if !bytes.Equal(load(t, s, root), noise(byte(seed), chunk.Size+1)) {
			t.Errorf("image %d is not as acknowledged", seed)
		}
	}
	if len(whole) < 2 {
		t.Error("nothing was acknowledged before the kill")
	}
}

func unhex(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }

// The disk of the node is full. The error says so, the room that was taken is given back, and what was there
// before is whole.
func TestImport_FullDiskLeavesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=22m"); err != nil {
		t.Skip("cannot mount a tmpfs here: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := openAt(t, dir)
	small := noise(1, chunk.Size)
	kept := store(t, s, small)
	before := len(files(t, dir))

	big := noise(2, 6*chunk.Size)
	_, err := s.Import(t.Context(), bytes.NewReader(big), -1, 0)
	if !errors.Is(err, chunk.ErrFull) {
		t.Fatalf("on a full disk: %v", err)
	}
	if after := len(files(t, dir)); after != before {
		t.Errorf("%d files became %d", before, after)
	}

	other, _ := open(t)
	root := store(t, other, big).Root
	if err := s.Fetch(t.Context(), root, []chunk.Source{other}, nil); !errors.Is(err, chunk.ErrFull) {
		t.Errorf("fetch to a full disk: %v", err)
	}
	if after := len(files(t, dir)); after != before {
		t.Errorf("%d files became %d", before, after)
	}

	medium := store(t, s, noise(3, 3*chunk.Size))
	if _, err := s.Materialize(t.Context(), medium.Root, "raw"); !errors.Is(err, chunk.ErrFull) {
		t.Errorf("materialize on a full disk: %v", err)
	}
	if left := files(t, filepath.Join(dir, "base")); len(left) != 0 {
		t.Errorf("in base: %v", left)
	}
	if !bytes.Equal(load(t, s, kept.Root), small) {
		t.Error("the image that was there was harmed")
	}
}

// An upload of any size takes the same memory.
func TestImport_MemoryIsFlat(t *testing.T) {
	s, _ := open(t)
	const size = 256 << 20
	body := &measured{left: size, block: noise(1, 1<<20)}
	if _, err := s.Import(t.Context(), body, size, 0); err != nil {
		t.Fatal(err)
	}
	const most = 64 << 20
	if body.peak > most {
		t.Errorf("%d MiB were in use for an upload of %d MiB", body.peak>>20, size>>20)
	}
}

// measured gives bytes, of which one in eight chunks differs from the others, and watches the memory meanwhile.
type measured struct {
	left  int
	block []byte
	peak  uint64
	reads int
}

func (m *measured) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	if m.reads++; m.reads%512 == 0 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		m.peak = max(m.peak, stats.HeapInuse)
		m.block[0]++
	}
	n := copy(p, m.block[:min(len(m.block), m.left)])
	m.left -= n
	return n, nil
}
