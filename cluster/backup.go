package cluster

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// A backup is a head that says what it is of, and a snapshot. The head is the magic, the layout's version, one record, and the SHA-256
// of these; the snapshot ends with a digest of its own. So each half is checked before it is believed, and a backup is written and read in
// one go, whatever its size.
const (
	backupMagic   = "kilonova backup\n\x00"
	backupVersion = uint32(1)
)

// BackupHead says what a backup is of.
type BackupHead struct {
	ClusterID string `json:"cluster_id"`
	Index     uint64 `json:"index"`    // of the view
	Hash      Hash   `json:"hash"`     // of the view
	Commands  uint32 `json:"commands"` // CommandVersion of the build that wrote it
	Version   string `json:"version"`  // of that build
	Created   Time   `json:"created"`
	Nodes     int    `json:"nodes"`
	Instances int    `json:"instances"`
}

// WriteBackup writes the view as a backup. version is the build's, now the time that the backup says it was made at. It holds the keys of
// the cluster's authority and the hashes of all passwords.
func (v *View) WriteBackup(w io.Writer, version string, now Time) (BackupHead, error) {
	var h BackupHead
	a := v.Authority()
	if a == nil {
		return h, Errorf(Unavailable, "this node has not caught up with the cluster yet")
	}
	h = BackupHead{
		ClusterID: a.ClusterID, Index: v.Index(), Hash: v.Hash(), Commands: CommandVersion, Version: version, Created: now,
		Nodes: v.t.nodes.Len(), Instances: v.t.instances.Len(),
	}
	out := newRecordWriter(w)
	out.text(backupMagic)
	out.number(uint64(backupVersion), 4)
	out.record(&h)
	sum := out.digest()
	out.text(string(sum[:]))
	if err := out.flush(); err != nil {
		return h, fmt.Errorf("write backup: %w", err)
	}
	_, err := v.WriteTo(w)
	return h, err
}

// ReadBackup reads a backup to its end. What is cut short, changed, or no backup gives an error that wraps ErrCorrupt; what a newer build
// wrote one that wraps ErrUnknownCommand; never a part of a state.
func ReadBackup(r io.Reader) (BackupHead, *State, error) {
	in := &recordReader{r: bufio.NewReaderSize(r, snapshotBuffer), sum: sha256.New()}
	h, err := in.backupHead()
	if err != nil {
		return h, nil, fmt.Errorf("read backup: %w", err)
	}
	s, err := ReadState(in.r)
	if errors.Is(err, ErrUnknownCommand) { // the head says that it holds nothing that this build does not know
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return h, nil, fmt.Errorf("read backup of cluster %s: %w", h.ClusterID, err)
	}
	v := s.View()
	if a := v.Authority(); a == nil || a.ClusterID != h.ClusterID || v.Index() != h.Index || v.Hash() != h.Hash {
		return h, nil, fmt.Errorf("read backup of cluster %s: %w: its head and its state are not of one backup", h.ClusterID, ErrCorrupt)
	}
	if err := v.Verify(); err != nil {
		return h, nil, fmt.Errorf("read backup of cluster %s: %w: %w", h.ClusterID, ErrCorrupt, err)
	}
	return h, s, nil
}

func (in *recordReader) backupHead() (BackupHead, error) {
	var h BackupHead
	magic, err := in.bytes(len(backupMagic))
	switch {
	case errors.Is(err, ErrCorrupt), err == nil && string(magic) != backupMagic:
		return h, fmt.Errorf("%w: it does not begin as a backup of Kilonova does", ErrCorrupt)
	case err != nil:
		return h, err
	}
	version, err := in.number(4)
	if err != nil {
		return h, err
	}
	if version != uint64(backupVersion) {
		return h, fmt.Errorf("%w: layout %d; this build knows %d", ErrUnknownCommand, version, backupVersion)
	}
	b, err := in.record()
	if err != nil {
		return h, err
	}
	record := bytes.Clone(b)
	want := in.sum.Sum(nil)
	got, err := in.bytes(len(want))
	if err != nil {
		return h, err
	}
	if !bytes.Equal(got, want) {
		return h, fmt.Errorf("%w: the digest of its head does not match", ErrCorrupt)
	}
	if err := decodeRecord(record, &h); err != nil {
		return h, err
	}
	if h.Commands > CommandVersion {
		return h, fmt.Errorf("%w: kilonova %.64s wrote it, whose commands are of version %d; this build knows %d: use that build, or a newer one",
			ErrUnknownCommand, h.Version, h.Commands, CommandVersion)
	}
	return h, nil
}
