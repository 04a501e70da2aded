package raftfsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
)

const (
	tmpSuffix = ".tmp" // of what is not whole yet
	metaFile  = "meta.json"
	stateFile = "state.bin"

	// preambleMagic begins the file of a snapshot, before the state. The state begins with a magic of its own.
	preambleMagic = "kilonova snapshot\n\x00"

	// maxPreamble bounds what a preamble says of itself. A member of the configuration takes some 150 bytes.
	maxPreamble = 16 << 20
)

// snapshots is raft's store of snapshots, whose meta.json has no checksum: a bit in it can make an old snapshot the newest, give the state an index
// that it does not have, or the cluster other members. So each snapshot's file begins with a preamble that repeats what meta.json says,
// under a checksum. It stays on this disk: what is sent to followers is the state alone.
type snapshots struct {
	*raft.FileSnapshotStore
	dir string // of all snapshots
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64,
	trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.FileSnapshotStore.Create(version, index, term, members, membersIndex, trans)
	if err != nil {
		return nil, err
	}
	head, err := preamble(raft.SnapshotMeta{
		Version: version, ID: sink.ID(), Index: index, Term: term, Configuration: members, ConfigurationIndex: membersIndex,
	})
	if err == nil {
		_, err = sink.Write(head)
	}
	if err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return sink, nil
}

// Open implements raft.SnapshotStore. A snapshot of a build that wrote no preamble is given as it is.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, state, err := s.FileSnapshotStore.Open(id)
	if err != nil {
		return nil, nil, damaged(filepath.Join(s.dir, id), fmt.Errorf("%w: %w", errCorrupt, err))
	}
	whole := &replayed{Closer: state}
	n, err := readPreamble(io.TeeReader(state, &whole.read), *meta)
	switch {
	case errors.Is(err, errNoPreamble):
		whole.Reader = io.MultiReader(&whole.read, state)
	case err != nil:
		return nil, nil, errors.Join(damaged(filepath.Join(s.dir, id), err), state.Close())
	default:
		whole.Reader = state
		meta.Size -= n
	}
	return meta, whole, nil
}

// replayed is a snapshot's file from some place on.
type replayed struct {
	io.Reader
	io.Closer
	read bytes.Buffer
}

// facts is what of a snapshot's meta has to be as it was written. Its size and checksum follow from its file; Peers is empty in this version.
func facts(meta raft.SnapshotMeta) ([]byte, error) {
	meta.Size, meta.Peers = 0, nil
	return json.Marshal(meta)
}

// preamble is the magic, the length of the facts, the facts, and the CRC-32C of all that.
func preamble(meta raft.SnapshotMeta) ([]byte, error) {
	text, err := facts(meta)
	if err != nil {
		return nil, fmt.Errorf("encode a snapshot's head: %w", err)
	}
	b := append([]byte(preambleMagic), binary.BigEndian.AppendUint32(nil, uint32(len(text)))...)
	b = append(b, text...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// errNoPreamble says that a snapshot is of a build that wrote none.
var errNoPreamble = errors.New("there is no preamble")

// readPreamble reads a preamble, which has to say what meta says, and gives its length.
func readPreamble(r io.Reader, meta raft.SnapshotMeta) (int64, error) {
	b := make([]byte, len(preambleMagic)+4)
	if _, err := io.ReadFull(r, b[:len(preambleMagic)]); err != nil {
		return 0, fmt.Errorf("%w: read its head: %w", errCorrupt, err)
	}
	if string(b[:len(preambleMagic)]) != preambleMagic {
		return 0, errNoPreamble
	}
	if _, err := io.ReadFull(r, b[len(preambleMagic):]); err != nil {
		return 0, fmt.Errorf("%w: read its head: %w", errCorrupt, err)
	}
	n := binary.BigEndian.Uint32(b[len(preambleMagic):])
	if n > maxPreamble {
		return 0, fmt.Errorf("%w: its head has %d bytes", errCorrupt, n)
	}
	text := make([]byte, n+4)
	if _, err := io.ReadFull(r, text); err != nil {
		return 0, fmt.Errorf("%w: read its head: %w", errCorrupt, err)
	}
	sum := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, text[:n])
	if binary.BigEndian.Uint32(text[n:]) != sum {
		return 0, fmt.Errorf("%w: the checksum of its head does not match", errCorrupt)
	}
	said, err := facts(meta)
	if err != nil {
		return 0, fmt.Errorf("encode a snapshot's head: %w", err)
	}
	if !bytes.Equal(said, text[:n]) {
		return 0, fmt.Errorf("%w: %s says %s, and it was written with %s", errCorrupt, metaFile, said, text[:n])
	}
	return int64(len(b)) + int64(n) + 4, nil
}

// wholeSnapshots names the snapshots in a replica's directory that were completed.
func wholeSnapshots(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, snapshotDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), tmpSuffix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// openSnapshots opens the snapshots, and refuses when the head of one is not what was written: raft would pass it over, and fall back to an
// older one. sealed says that the newest one has to have a preamble.
func openSnapshots(cfg Config, sealed bool) (*snapshots, error) {
	inner, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, snapshotsKept, newLogger(cfg.Log))
	if err != nil {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	s := &snapshots{inner, filepath.Join(cfg.Dir, snapshotDir)}
	names, err := wholeSnapshots(cfg.Dir)
	if err != nil {
		return nil, err
	}
	lone := map[string]bool{}
	for _, name := range names {
		err := s.check(name)
		if lone[name] = errors.Is(err, errNoPreamble); err != nil && !lone[name] {
			return nil, fmt.Errorf("open raft snapshots: %w", damaged(filepath.Join(s.dir, name), err))
		}
	}
	known, err := s.List()
	if err != nil {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	if len(known) > 0 && lone[known[0].ID] {
		if sealed {
			err := fmt.Errorf("%w: %w, and it is the newest", errCorrupt, errNoPreamble)
			return nil, fmt.Errorf("open raft snapshots: %w", damaged(filepath.Join(s.dir, known[0].ID), err))
		}
		return s, s.reseal(known[0].ID)
	}
	return s, nil
}

// check reads a snapshot's heads, and not its state.
func (s *snapshots) check(name string) error {
	b, err := os.ReadFile(filepath.Join(s.dir, name, metaFile))
	if err != nil {
		return err
	}
	var meta struct { // all that raft's store reads: it passes over a snapshot of which it cannot
		raft.SnapshotMeta
		CRC []byte
	}
	if err := json.Unmarshal(b, &meta); err != nil {
		return fmt.Errorf("%w: %s: %w", errCorrupt, metaFile, err)
	}
	if meta.ID != name || meta.Version < raft.SnapshotVersionMin || meta.Version > raft.SnapshotVersionMax {
		return fmt.Errorf("%w: %s says that it is snapshot %q of version %d", errCorrupt, metaFile, meta.ID, meta.Version)
	}
	state, err := os.Open(filepath.Join(s.dir, name, stateFile))
	if err != nil {
		return err
	}
	info, err := state.Stat()
	if err == nil && info.Size() != meta.Size {
		err = fmt.Errorf("%w: %s has %d bytes, %s says %d", errCorrupt, stateFile, info.Size(), metaFile, meta.Size)
	}
	if err == nil {
		_, err = readPreamble(state, meta.SnapshotMeta)
	}
	return errors.Join(err, state.Close())
}

// reseal writes a snapshot of a former build once more, with a preamble. The copy is the newest then.
func (s *snapshots) reseal(id string) error {
	meta, state, err := s.Open(id)
	if err != nil {
		return fmt.Errorf("open raft snapshots: %w", err)
	}
	_, encoder := raft.NewInmemTransport("") // the store wants one, for a field that raft no longer reads
	sink, err := s.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, encoder)
	if err != nil {
		return errors.Join(fmt.Errorf("write snapshot %s with a preamble: %w", id, err), state.Close())
	}
	if _, err := io.Copy(sink, state); err != nil {
		return errors.Join(fmt.Errorf("write snapshot %s with a preamble: %w", id, err), sink.Cancel(), state.Close())
	}
	return errors.Join(sink.Close(), state.Close())
}
