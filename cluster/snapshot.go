package cluster

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// A snapshot is a stream: the magic, the layout's version, the sections, an end mark and the SHA-256 of all that
// came before. A section is its number, how many records it has, and the records, each with its length before
// it. Numbers are big-endian, records are CBOR as in the log. Only what cannot be worked out is written: indexes,
// allocations and usage are made anew. The sections that the first builds had are always there; a later one is only
// when it has records, so a snapshot that was written before there was such a section is read as if it were empty. One
// state has exactly one stream, so its digest is the state's.
const (
	snapshotMagic   = "kilonova state\n\x00"
	snapshotVersion = uint32(1)

	// maxRecordBytes is far above the largest record: what a command can make is bounded by MaxCommandBytes.
	maxRecordBytes = 2 * MaxCommandBytes

	// lastFirstSection is the last of the sections that every snapshot has.
	lastFirstSection = 23

	snapshotBuffer = 32 << 10
)

// WriteTo writes the view as a snapshot, record by record: it needs little memory whatever the view holds.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	out := newRecordWriter(w)
	if _, err := v.write(out); err != nil {
		return out.n, fmt.Errorf("write snapshot: %w", err)
	}
	return out.n, nil
}

// Hash is the digest of the view's snapshot. Views of the same index have the same one on every replica.
func (v *View) Hash() Hash {
	out := newRecordWriter(io.Discard)
	sum, err := v.write(out)
	if err != nil {
		panic("cluster: the state holds what cannot be encoded: " + err.Error()) // nothing else can fail here
	}
	return sum
}

// write writes the stream and gives the digest that ends it.
func (v *View) write(out *recordWriter) (Hash, error) {
	out.text(snapshotMagic)
	out.number(uint64(snapshotVersion), 4)
	for i := range sections {
		sec := &sections[i]
		if sec.optional() && sec.count(&v.t) == 0 {
			continue
		}
		out.number(uint64(sec.id), 1)
		out.number(uint64(sec.count(&v.t)), 8)
		sec.each(&v.t, func(record any) bool { return out.record(record) })
	}
	out.number(endOfSections, 1)
	sum := out.digest()
	out.text(string(sum[:]))
	return sum, out.flush()
}

// recordWriter counts and digests what it writes. Its first error sticks.
type recordWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	n   int64
	buf bytes.Buffer
	err error
}

func newRecordWriter(w io.Writer) *recordWriter {
	return &recordWriter{w: bufio.NewWriterSize(w, snapshotBuffer), sum: sha256.New()}
}

func (o *recordWriter) bytes(b []byte) {
	if o.err != nil {
		return
	}
	o.sum.Write(b) // never fails
	n, err := o.w.Write(b)
	o.n += int64(n)
	o.err = err
}

func (o *recordWriter) text(s string) { o.bytes([]byte(s)) }

// number writes the low bytes of n.
func (o *recordWriter) number(n uint64, bytes int) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	o.bytes(b[8-bytes:])
}

// record writes one record and tells whether to go on.
func (o *recordWriter) record(x any) bool {
	o.buf.Reset()
	if err := encodingTo.MarshalToBuffer(x, &o.buf); err != nil && o.err == nil {
		o.err = err
	}
	o.number(uint64(o.buf.Len()), 4)
	o.bytes(o.buf.Bytes())
	return o.err == nil
}

// digest is that of all that was written so far.
func (o *recordWriter) digest() (h Hash) { return Hash(o.sum.Sum(h[:0])) }

func (o *recordWriter) flush() error {
	if o.err == nil {
		o.err = o.w.Flush()
	}
	return o.err
}

var encodingTo = must(cbor.CoreDetEncOptions().UserBufferEncMode())

// ReadState reads a snapshot to its end. What is cut short, changed or followed by anything gives an error that
// wraps ErrCorrupt, and one of a newer layout ErrUnknownCommand; never a part of a state.
func ReadState(r io.Reader) (*State, error) {
	in := &recordReader{r: bufio.NewReaderSize(r, snapshotBuffer), sum: sha256.New()}
	s, err := in.state()
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return s, nil
}

// recordReader digests what it reads.
type recordReader struct {
	r   *bufio.Reader
	sum hash.Hash
	buf []byte
}

func (in *recordReader) state() (*State, error) {
	head, err := in.bytes(len(snapshotMagic))
	if err != nil {
		return nil, err
	}
	if string(head) != snapshotMagic {
		return nil, fmt.Errorf("%w: it does not begin as a snapshot does", ErrCorrupt)
	}
	version, err := in.number(4)
	if err != nil {
		return nil, err
	}
	if version != uint64(snapshotVersion) {
		return nil, fmt.Errorf("%w: layout %d; this build knows %d", ErrUnknownCommand, version, snapshotVersion)
	}
	s := NewState()
	next, err := in.number(1)
	for i := range sections {
		if err != nil {
			return nil, err
		}
		sec := &sections[i]
		switch {
		case next == uint64(sec.id):
			if err := in.section(sec, s); err != nil {
				return nil, err
			}
			next, err = in.number(1)
		case !sec.optional():
			return nil, fmt.Errorf("%w: section %d where %d should be", ErrCorrupt, next, sec.id)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case next > uint64(sections[len(sections)-1].id):
		return nil, fmt.Errorf("%w: section %d", ErrUnknownCommand, next)
	case next != endOfSections:
		return nil, fmt.Errorf("%w: section %d where none should be", ErrCorrupt, next)
	}
	s.forgetFeed()
	return s, in.finish()
}

// section reads one section, whose number was read, into the state.
func (in *recordReader) section(sec *section, s *State) error {
	count, err := in.number(8)
	if err != nil {
		return err
	}
	if count == 0 && sec.optional() {
		return fmt.Errorf("%w: section %d is there without records", ErrCorrupt, sec.id)
	}
	for n := range count {
		b, err := in.record()
		if err == nil {
			err = sec.read(s, b)
		}
		if err != nil {
			return fmt.Errorf("section %d, record %d of %d: %w", sec.id, n+1, count, err)
		}
	}
	if got := sec.count(&s.t); uint64(got) != count {
		return fmt.Errorf("%w: section %d says %d records and holds %d different ones", ErrCorrupt, sec.id, count, got)
	}
	return nil
}

// finish checks the digest and that nothing follows.
func (in *recordReader) finish() error {
	want := Hash(in.sum.Sum(nil))
	got, err := in.bytes(len(want))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want[:]) {
		return fmt.Errorf("%w: the digest does not match", ErrCorrupt)
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrCorrupt)
	}
	return nil
}

// bytes reads the next n bytes. They are good until the next call.
func (in *recordReader) bytes(n int) ([]byte, error) {
	if cap(in.buf) < n {
		in.buf = make([]byte, max(n, 4096))
	}
	b := in.buf[:n]
	switch _, err := io.ReadFull(in.r, b); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: it is cut short", ErrCorrupt)
	case err != nil:
		return nil, err
	}
	in.sum.Write(b) // never fails
	return b, nil
}

func (in *recordReader) number(bytes int) (uint64, error) {
	b, err := in.bytes(bytes)
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n, nil
}

func (in *recordReader) record() ([]byte, error) {
	n, err := in.number(4)
	if err != nil {
		return nil, err
	}
	if n > maxRecordBytes {
		return nil, fmt.Errorf("%w: a record of %d bytes", ErrCorrupt, n)
	}
	return in.bytes(int(n))
}
