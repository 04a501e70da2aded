package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"syscall"
)

const (
	blockBytes = 512  // what a disk writes whole
	ringBlocks = 8192 // 4 MiB, 27 minutes of counting
)

// record is a number that was counted.
type record struct {
	boot, count int
	id          string // of the boot
}

func (r record) String() string { return fmt.Sprintf("%d/%d/%s", r.boot, r.count, r.id) }

// encode fills a block with the record.
func (r record) encode(block []byte) {
	text := fmt.Sprintf("%d %d %s", r.boot, r.count, r.id)
	clear(block)
	copy(block, fmt.Sprintf("%s %08x\n", text, crc32.ChecksumIEEE([]byte(text))))
}

var (
	errEmpty = errors.New("never written")
	errSum   = errors.New("its checksum is wrong")
)

// decode reads a block.
func decode(block []byte) (r record, err error) {
	line, _, _ := bytes.Cut(block, []byte("\n"))
	if len(bytes.TrimRight(block, "\x00")) == 0 {
		return record{}, errEmpty
	}
	var sum uint32
	if _, err := fmt.Sscanf(string(line), "%d %d %s %08x", &r.boot, &r.count, &r.id, &sum); err != nil {
		return record{}, errSum
	}
	if text := fmt.Sprintf("%d %d %s", r.boot, r.count, r.id); crc32.ChecksumIEEE([]byte(text)) != sum {
		return record{}, errSum
	}
	return r, nil
}

// ring is a file that holds the newest records, each in the block of its number. All its blocks are on the disk from the
// beginning, so that a record is one write of one block and nothing else.
type ring struct {
	file  *os.File
	block []byte // aligned, as direct access must be
	began bool   // this boot has written a record
}

// scanned is what a ring holds.
type scanned struct {
	last    record
	records int
	lost    string // why not all are there that were written; "": they are
}

func (s scanned) String() string {
	if s.lost != "" {
		return fmt.Sprintf("boot=%d count=%d records=%d LOST %s", s.last.boot, s.last.count, s.records, s.lost)
	}
	return fmt.Sprintf("boot=%d count=%d records=%d intact", s.last.boot, s.last.count, s.records)
}

// openRing opens a ring, makes it where the flags say so and there is none, and reads what it holds.
func openRing(path string, flags int) (*ring, scanned, error) {
	block, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, scanned{}, fmt.Errorf("take memory: %w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && flags&os.O_CREATE != 0 {
		if err := writeEmpty(path); err != nil {
			return nil, scanned{}, err
		}
	}
	f, err := os.OpenFile(path, flags&^os.O_CREATE, 0o600)
	if err != nil {
		return nil, scanned{}, err
	}
	r := &ring{file: f, block: block[:blockBytes]}
	state, err := r.scan()
	if err != nil {
		return nil, state, errors.Join(err, f.Close())
	}
	return r, state, nil
}

// writeEmpty makes a ring without records. A crash on the way leaves none.
func writeEmpty(path string) error {
	part := path + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, ringBlocks*blockBytes))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	syscall.Sync()
	return nil
}

func offset(count int) int64 { return int64(count%ringBlocks) * blockBytes }

func (r *ring) read(count int) (record, error) {
	if _, err := r.file.ReadAt(r.block, offset(count)); err != nil {
		return record{}, fmt.Errorf("read record %d: %w", count, err)
	}
	return decode(r.block)
}

func (r *ring) write(n record) error {
	n.encode(r.block)
	if _, err := r.file.WriteAt(r.block, offset(n.count)); err != nil {
		return fmt.Errorf("write record %d: %w", n.count, err)
	}
	r.began = true
	return nil
}

// scan reads all blocks. The newest record must have all the others before it that the ring has room for.
func (r *ring) scan() (s scanned, err error) {
	found := make(map[int]bool, ringBlocks)
	for i := range ringBlocks {
		n, err := r.read(i)
		switch {
		case errors.Is(err, errEmpty):
			continue
		case errors.Is(err, errSum):
			s.lost = fmt.Sprintf("block %d: %v", i, err)
			continue
		case err != nil:
			return s, err
		case n.count%ringBlocks != i:
			s.lost = fmt.Sprintf("block %d holds record %d", i, n.count)
			continue
		}
		found[n.count] = true
		if n.count > s.last.count {
			s.last = n
		}
	}
	s.records = len(found)
	for c := s.last.count; c > max(0, s.last.count-ringBlocks+1) && s.lost == ""; c-- {
		if !found[c] {
			s.lost = fmt.Sprintf("record %d is not there, %d is", c, s.last.count)
		}
	}
	return s, nil
}
