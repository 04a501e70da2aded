package raftfsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file (go.etcd.io/bbolt, internal/common: page.go, meta.go, bucket.go), in the byte order of the machine. The first two
// pages are heads, written in turn: each transaction writes its pages where the last one had none, and then one head, which makes them count.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	headBytes      = 64 // of a head, the checksum included
	pageHeadBytes  = 16 // id, flags, count, overflow
	elementBytes   = 16 // of branch and leaf pages alike
	bucketBytes    = 16 // root page and sequence, before an inline page
	branchFlag     = 1
	leafFlag       = 2
	headPages      = 2
	minPageSize    = 1 << 10
	maxPageSize    = 1 << 16
	maxBranchDepth = 16
)

var (
	boltOrder = binary.NativeEndian

	logsBucket = []byte("logs") // the entries, by index
	confBucket = []byte("conf") // term and vote, until the anchor took them over
)

// boltHead is what a head page says.
type boltHead struct {
	root uint64 // page of the root bucket
	high uint64 // pages from here on are not in use
	txid uint64 // of the transaction that wrote it
}

// boltPages walks the pages of a bbolt file without bbolt, which trusts what it reads: a wrong number in a page makes it panic in a goroutine of
// its own, read outside its memory map, or run in circles.
type boltPages struct {
	file io.ReaderAt
	size int64 // of the file
	page int64 // bytes
	head boltHead
	seen map[uint64]bool
}

// checkPages makes sure that bbolt can read every page that the newest transaction left, and gives the number of that transaction. Both heads have
// to be whole and of two transactions in a row: with one of them bbolt would go back to the transaction before, as if the last one had
// never been. A power cut does not damage a head: it lies within one sector.
func checkPages(file io.ReaderAt, size int64) (txid uint64, err error) {
	p := &boltPages{file: file, size: size, seen: map[uint64]bool{}}
	if err := p.readHeads(); err != nil {
		return 0, err
	}
	buckets := map[string]bool{}
	err = p.tree(p.head.root, func(flags uint32, key, value []byte) error {
		if flags != 1 || len(value) < bucketBytes {
			return fmt.Errorf("%q is no bucket: %w", key, errCorrupt)
		}
		buckets[string(key)] = true
		return p.bucket(value)
	})
	if err != nil {
		return 0, err
	}
	made := p.head.txid > 1 // the buckets are made by the first transaction of a new file
	if made && !(buckets[string(logsBucket)] && buckets[string(confBucket)]) {
		return 0, fmt.Errorf("page %d: a bucket is missing: %w", p.head.root, errCorrupt)
	}
	return p.head.txid, nil
}

func (p *boltPages) readHeads() error {
	first, err := p.readHead(0, minPageSize)
	if err != nil {
		return err
	}
	second, err := p.readHead(1, p.page)
	if err != nil {
		return err
	}
	switch {
	case first.txid == second.txid+1:
		p.head = first
	case second.txid == first.txid+1:
		p.head = second
	default:
		return fmt.Errorf("pages 0 and 1 are of transactions %d and %d, which do not follow each other: %w", first.txid, second.txid, errCorrupt)
	}
	return nil
}

// readHead reads head n, which begins at n times pageSize.
func (p *boltPages) readHead(n, pageSize int64) (boltHead, error) {
	b := make([]byte, pageHeadBytes+headBytes)
	if err := p.readAt(b, n*pageSize); err != nil {
		return boltHead{}, fmt.Errorf("page %d: %w", n, err)
	}
	b = b[pageHeadBytes:]
	sum := fnv.New64a()
	sum.Write(b[:headBytes-8])
	size := int64(boltOrder.Uint32(b[8:]))
	if boltOrder.Uint32(b) != boltMagic || boltOrder.Uint32(b[4:]) != boltVersion || boltOrder.Uint64(b[56:]) != sum.Sum64() ||
		size < minPageSize || size > maxPageSize || n == 1 && size != pageSize {
		return boltHead{}, fmt.Errorf("page %d: its checksum does not match: %w", n, errCorrupt)
	}
	p.page = size
	return boltHead{root: boltOrder.Uint64(b[16:]), high: boltOrder.Uint64(b[40:]), txid: boltOrder.Uint64(b[48:])}, nil
}

func (p *boltPages) readAt(b []byte, at int64) error {
	if at < 0 || at > p.size-int64(len(b)) {
		return fmt.Errorf("the file ends before it, at %d bytes: %w", p.size, errCorrupt)
	}
	_, err := p.file.ReadAt(b, at)
	return err
}

// bucket walks the bucket whose record this is: a small one lies in its record.
func (p *boltPages) bucket(record []byte) error {
	root, inline := boltOrder.Uint64(record), record[bucketBytes:]
	if root != 0 {
		return p.tree(root, plainValue)
	}
	if len(inline) < pageHeadBytes {
		return fmt.Errorf("a bucket within a page is cut: %w", errCorrupt)
	}
	if flags := boltOrder.Uint16(inline[8:]); flags != leafFlag {
		return fmt.Errorf("a bucket within a page has flags %#x: %w", flags, errCorrupt)
	}
	var last []byte
	return eachElement(inline, func(e element) error { return e.leaf(&last, plainValue) })
}

// plainValue is what the elements of our buckets are.
func plainValue(flags uint32, key, _ []byte) error {
	if flags != 0 {
		return fmt.Errorf("element %x has flags %#x: %w", key, flags, errCorrupt)
	}
	return nil
}

// tree walks a tree in the order of its keys, which have to ascend.
func (p *boltPages) tree(root uint64, each func(flags uint32, key, value []byte) error) error {
	var last []byte // key, of all leaves before
	var walk func(id uint64, low []byte, depth int) error
	walk = func(id uint64, low []byte, depth int) error {
		page, err := p.read(id)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		switch flags := boltOrder.Uint16(page[8:]); {
		case flags == leafFlag:
			fits := func(flags uint32, key, value []byte) error {
				if bytes.Compare(key, low) < 0 {
					return fmt.Errorf("element %x stands below the key of its page: %w", key, errCorrupt)
				}
				return each(flags, key, value)
			}
			err = eachElement(page, func(e element) error { return e.leaf(&last, fits) })
		case flags == branchFlag && depth < maxBranchDepth && boltOrder.Uint16(page[10:]) > 0:
			err = eachElement(page, func(e element) error {
				key, child, err := e.branch()
				if err == nil && last != nil && bytes.Compare(key, last) <= 0 {
					err = fmt.Errorf("its keys do not ascend: %w", errCorrupt)
				}
				if err != nil {
					return err
				}
				return walk(child, key, depth+1)
			})
		default:
			err = fmt.Errorf("it has flags %#x at depth %d: %w", flags, depth, errCorrupt)
		}
		if err != nil && depth == 0 {
			return fmt.Errorf("below page %d: %w", id, err)
		}
		return err
	}
	return walk(root, nil, 0)
}

// read reads a page with what it overflows into.
func (p *boltPages) read(id uint64) ([]byte, error) {
	if id < headPages || id >= p.head.high || id > uint64(p.size/p.page) {
		return nil, fmt.Errorf("it is outside of the file: %w", errCorrupt)
	}
	head := make([]byte, pageHeadBytes)
	if err := p.readAt(head, int64(id)*p.page); err != nil {
		return nil, err
	}
	more := uint64(boltOrder.Uint32(head[12:]))
	if boltOrder.Uint64(head) != id || more >= p.head.high-id {
		return nil, fmt.Errorf("its head does not fit: %w", errCorrupt)
	}
	for i := id; i <= id+more; i++ {
		if p.seen[i] {
			return nil, fmt.Errorf("it is used twice: %w", errCorrupt)
		}
		p.seen[i] = true
	}
	if end := int64(id+more+1) * p.page; end > p.size {
		return nil, fmt.Errorf("the file ends within it, at %d bytes: %w", p.size, errCorrupt)
	}
	page := make([]byte, int64(more+1)*p.page)
	return page, p.readAt(page, int64(id)*p.page)
}

// element is one element of a page, at an offset in it.
type element struct {
	page []byte
	at   int
}

// eachElement calls do for each element of a page, after it made sure that their heads lie in it.
func eachElement(page []byte, do func(element) error) error {
	count := int(boltOrder.Uint16(page[10:]))
	if pageHeadBytes+count*elementBytes > len(page) {
		return fmt.Errorf("%d elements do not fit: %w", count, errCorrupt)
	}
	for i := range count {
		if err := do(element{page, pageHeadBytes + i*elementBytes}); err != nil {
			return err
		}
	}
	return nil
}

// bytes gives what lies at an offset from the element's own.
func (e element) bytes(offset, length uint64) ([]byte, error) {
	from := uint64(e.at) + offset
	if from+length > uint64(len(e.page)) {
		return nil, fmt.Errorf("an element reaches out of its page: %w", errCorrupt)
	}
	return e.page[from : from+length], nil
}

func (e element) branch() (key []byte, child uint64, err error) {
	b := e.page[e.at:]
	key, err = e.bytes(uint64(boltOrder.Uint32(b)), uint64(boltOrder.Uint32(b[4:])))
	return key, boltOrder.Uint64(b[8:]), err
}

// leaf hands a leaf's element on. Its key has to be above last, and becomes it.
func (e element) leaf(last *[]byte, do func(flags uint32, key, value []byte) error) error {
	b := e.page[e.at:]
	pos, keyLen, valueLen := uint64(boltOrder.Uint32(b[4:])), uint64(boltOrder.Uint32(b[8:])), uint64(boltOrder.Uint32(b[12:]))
	both, err := e.bytes(pos, keyLen+valueLen)
	if err != nil {
		return err
	}
	key := both[:keyLen]
	if *last != nil && bytes.Compare(key, *last) <= 0 {
		return fmt.Errorf("its keys do not ascend: %w", errCorrupt)
	}
	*last = key
	return do(boltOrder.Uint32(b), key, both[keyLen:])
}
