package operate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kilonova/kilonova/httpapi/peer"
)

// Any sparse file, read in any pieces and any order, is what it is at its source.
func TestRemoteFile_IsTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content, extents := drawSparse(t)
		f := &remoteFile{ctx: context.Background(), size: int64(len(content)),
			blocks: cut(extents, int64(rapid.IntRange(1, 64).Draw(t, "block")), rapid.IntRange(1, 5).Draw(t, "parts")),
			fetch:  from(content)}
		defer f.Close()
		for range rapid.IntRange(1, 20).Draw(t, "reads") {
			off := rapid.IntRange(0, len(content)).Draw(t, "offset")
			p := bytes.Repeat([]byte{0xee}, rapid.IntRange(0, 200).Draw(t, "length"))
			want := bytes.NewReader(content)
			expect := bytes.Repeat([]byte{0xee}, len(p))
			n, err := f.ReadAt(p, int64(off))
			m, wantErr := want.ReadAt(expect, int64(off))
			if len(p) == 0 {
				continue
			}
			if n != m || err != wantErr || !bytes.Equal(p, expect) {
				t.Fatalf("read %d at %d: %d, %v; want %d, %v", len(p), off, n, err, m, wantErr)
			}
		}
	})
}

// drawSparse draws a file and where it holds data.
func drawSparse(t *rapid.T) ([]byte, []peer.Extent) {
	var content []byte
	var extents []peer.Extent
	for range rapid.IntRange(1, 10).Draw(t, "extents") {
		content = append(content, make([]byte, rapid.IntRange(0, 50).Draw(t, "hole"))...)
		data := bytes.Repeat([]byte{byte(len(extents) + 1)}, rapid.IntRange(1, 150).Draw(t, "data"))
		extents = append(extents, peer.Extent{Offset: int64(len(content)), Length: int64(len(data))})
		content = append(content, data...)
	}
	return append(content, make([]byte, rapid.IntRange(0, 50).Draw(t, "tail"))...), extents
}

// from fetches out of memory, through a buffer that is as large as a real one.
func from(content []byte) fetchFunc {
	return func(_ context.Context, parts []peer.Extent, into []byte) error {
		for _, p := range parts {
			into = into[copy(into, content[p.Offset:p.Offset+p.Length]):]
		}
		return nil
	}
}

// Blocks are bounded in bytes and in parts, and hold every byte once, in order.
func TestCut_CoversEveryByteOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, extents := drawSparse(t)
		size, parts := int64(rapid.IntRange(1, 100).Draw(t, "size")), rapid.IntRange(1, 4).Draw(t, "parts")
		var all []peer.Extent
		for _, b := range cut(extents, size, parts) {
			var n int64
			for _, p := range b.parts {
				n += p.Length
				if last := len(all) - 1; last >= 0 && all[last].Offset+all[last].Length == p.Offset {
					all[last].Length += p.Length
				} else {
					all = append(all, p)
				}
			}
			if n != b.length || n > size || len(b.parts) > parts {
				t.Fatalf("a block of %d bytes in %d parts says it has %d", n, len(b.parts), b.length)
			}
		}
		var total, want int64
		for _, p := range all {
			total += p.Length
		}
		for _, x := range extents {
			want += x.Length
		}
		if total != want {
			t.Fatalf("%d bytes of %d", total, want)
		}
	})
}

// A block that cannot be had ends the read, and closing ends what is still on its way.
func TestRemoteFile_FailsWithItsSource(t *testing.T) {
	broken := errors.New("the source is on fire")
	var asked atomic.Int32
	f := newRemoteFile(t.Context(), 100*blockBytes, []peer.Extent{{Offset: 0, Length: 100 * blockBytes}}, func(ctx context.Context, parts []peer.Extent, _ []byte) error {
		switch asked.Add(1); parts[0].Offset / blockBytes {
		case 0:
			return nil
		case 1:
			return broken
		}
		<-ctx.Done()
		return ctx.Err()
	})
	n, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, 100*blockBytes))
	if n != blockBytes || !errors.Is(err, broken) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n > blocksAhead+2 {
		t.Errorf("%d blocks were asked for at once", n)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a closed file was read")
	}
	select {
	case <-t.Context().Done():
	case <-time.After(time.Millisecond):
	}
}
