package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// pages reads a bbolt file without bbolt, and without trusting a byte of it.
//
// bbolt maps the file and follows page numbers, offsets and counts as they stand
// there: on a damaged file it panics, faults, recurses without end, allocates
// without bound, or reads memory that is not the file's; not all of that can be
// recovered from. So it never gets to see a file before walk has found every
// page sound. The layout is that of bbolt's file format, version 2.
type pages struct {
	file   io.ReaderAt
	size   int64 // of the file, in bytes
	page   int64 // size of a page, in bytes
	end    uint64
	root   uint64
	free   uint64 // page of the list of free pages
	buffer [maxDepth][]byte

	// live has a bit for every page that the newest state refers to.
	live bitmap
	// whole is true while every reference to a page could be followed, so that
	// live is known to be complete.
	whole bool
	// found is the first fault, nil while there is none.
	found error
}

const (
	pageHeader    = 16
	element       = 16 // of a leaf and of a branch
	bucketHeader  = 16
	metaSize      = 64
	boltMagic     = 0xED0CDAED
	boltVersion   = 2
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagFreelist  = 0x10
	flagBucket    = 0x01 // of a leaf's element
	noFreelist    = 1<<64 - 1
	longFreelist  = 0xFFFF
	maxDepth      = 24 // of the tree; bbolt needs 5 for a journal of the largest size
	smallestPage  = 1 << 10
	largestPage   = 1 << 16
	largestBucket = 64 // bytes of a bucket's name
	largestKey    = 1 << 10
)

// bitmap is a set of page numbers.
type bitmap []uint64

func (b bitmap) has(i uint64) bool { return i/64 < uint64(len(b)) && b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) add(i uint64)      { b[i/64] |= 1 << (i % 64) }

// openPages reads the two meta pages. A healthy journal has two valid ones: the
// last two states that were committed.
func openPages(file io.ReaderAt, size int64) (*pages, error) {
	p := &pages{file: file, size: size, whole: true}
	var newest uint64
	valid := 0
	for _, m := range p.metas() {
		if m.end > uint64(size/m.page) || m.root < 2 || m.root >= m.end {
			continue
		}
		if valid++; valid == 1 || m.number > newest {
			newest = m.number
			p.page, p.end, p.root, p.free = m.page, m.end, m.root, m.free
		}
	}
	if valid == 0 {
		return nil, errors.New("both meta pages are damaged")
	}
	p.live = make(bitmap, p.end/64+1)
	p.live.add(0)
	p.live.add(1)
	if valid == 1 {
		p.fault(false, errors.New("a meta page is damaged"))
	}
	return p, nil
}

// meta is one state of the file.
type meta struct {
	page            int64
	root, free, end uint64
	number          uint64
}

// metas returns the meta pages with a right checksum. The second one stands at
// the page size, which is tried out if the first one does not tell it.
func (p *pages) metas() (found []meta) {
	first, ok := p.meta(0)
	if ok {
		found = append(found, first)
	}
	for size := int64(smallestPage); size <= largestPage; size *= 2 {
		if m, valid := p.meta(size); valid && m.page == size && (!ok || size == first.page) {
			return append(found, m)
		}
	}
	return found
}

func (p *pages) meta(at int64) (meta, bool) {
	b := make([]byte, pageHeader+metaSize)
	if _, err := p.file.ReadAt(b, at); err != nil {
		return meta{}, false
	}
	b = b[pageHeader:]
	word := binary.NativeEndian.Uint64
	hash := fnv.New64a()
	hash.Write(b[:metaSize-8])
	m := meta{
		page: int64(binary.NativeEndian.Uint32(b[8:])),
		root: word(b[16:]), free: word(b[32:]), end: word(b[40:]), number: word(b[48:]),
	}
	return m, binary.NativeEndian.Uint32(b) == boltMagic &&
		binary.NativeEndian.Uint32(b[4:]) == boltVersion &&
		hash.Sum64() == word(b[metaSize-8:]) &&
		m.page >= smallestPage && m.page <= largestPage && m.page&(m.page-1) == 0
}

// fault notes that the file is damaged. known says that no page is lost from
// sight by it.
func (p *pages) fault(known bool, err error) {
	if p.found == nil {
		p.found = err
	}
	p.whole = p.whole && known
}

// item is a key with its value in a bucket.
type item struct {
	bucket     string
	key, value []byte // good until visit returns
}

// walk visits every bucket and every item, in order, and returns the first fault
// it found. It goes on after one, as far as it can.
func (p *pages) walk(bucket func(name string, sequence uint64), visit func(item)) error {
	p.buckets(func(string) bool { return true }, bucket, visit)
	if p.found == nil {
		p.freelist()
	}
	return p.found
}

// walkOne visits the items of one bucket, and proves no more than it reads.
func (p *pages) walkOne(bucket string, visit func(item)) error {
	p.buckets(func(name string) bool { return name == bucket }, func(string, uint64) {}, visit)
	return p.found
}

// buckets visits the wanted buckets and their items.
func (p *pages) buckets(wanted func(name string) bool, bucket func(name string, sequence uint64), visit func(item)) {
	p.tree(p.root, 0, nil, nil, func(flags uint32, name, head []byte) {
		if flags&flagBucket == 0 || len(head) < bucketHeader || len(name) > largestBucket {
			p.fault(false, errors.New("the list of buckets is damaged"))
			return
		}
		own := string(name)
		if !wanted(own) {
			return
		}
		bucket(own, binary.NativeEndian.Uint64(head[8:]))
		leaf := func(flags uint32, key, value []byte) {
			if flags != 0 {
				p.fault(true, fmt.Errorf("bucket %s: an item is damaged", own))
				return
			}
			visit(item{own, key, value})
		}
		if root := binary.NativeEndian.Uint64(head); root != 0 {
			p.tree(root, maxDepth/2, nil, nil, leaf)
			return
		}
		inline := head[bucketHeader:]
		if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != flagLeaf {
			p.fault(true, fmt.Errorf("bucket %s is damaged", own))
			return
		}
		p.leaf(inline, nil, nil, leaf)
	})
}

// tree visits the leaves under a page, whose keys must be at least low and less
// than high; nil is no bound.
func (p *pages) tree(id uint64, depth int, low, high []byte, visit func(flags uint32, key, value []byte)) {
	b := p.read(id, depth)
	if b == nil {
		return
	}
	switch flags := binary.NativeEndian.Uint16(b[8:]); {
	case flags == flagLeaf:
		p.leaf(b, low, high, visit)
	case flags == flagBranch && (depth+1)%(maxDepth/2) != 0:
		p.branch(b, depth, low, high, visit)
	default:
		p.fault(false, fmt.Errorf("page %d is neither leaf nor branch", id))
	}
}

func (p *pages) branch(b []byte, depth int, low, high []byte, visit func(flags uint32, key, value []byte)) {
	count := int(binary.NativeEndian.Uint16(b[10:]))
	key := func(i int) []byte {
		at := int64(pageHeader + i*element)
		from := at + int64(binary.NativeEndian.Uint32(b[at:]))
		to := from + int64(binary.NativeEndian.Uint32(b[at+4:]))
		if from < int64(pageHeader+count*element) || to > int64(len(b)) || from >= to || to-from > largestKey {
			return nil
		}
		return b[from:to]
	}
	if count == 0 || pageHeader+count*element > len(b) {
		p.fault(false, errors.New("a branch page has a wrong length"))
		return
	}
	for i := range count {
		own, next := key(i), high
		if i+1 < count {
			next = key(i + 1)
		}
		if own == nil || (i+1 < count && next == nil) || outside(own, low, high) || (next != nil && bytes.Compare(own, next) >= 0) {
			p.fault(false, errors.New("a branch page is out of order"))
			continue
		}
		child := binary.NativeEndian.Uint64(b[pageHeader+i*element+8:])
		p.tree(child, depth+1, own, next, visit)
	}
}

func (p *pages) leaf(b []byte, low, high []byte, visit func(flags uint32, key, value []byte)) {
	count := int(binary.NativeEndian.Uint16(b[10:]))
	if pageHeader+count*element > len(b) {
		p.fault(true, errors.New("a leaf page has a wrong length"))
		return
	}
	var last []byte
	free := int64(pageHeader + count*element) // items follow each other, so the work is bounded by the page
	for i := range count {
		at := int64(pageHeader + i*element)
		word := func(n int64) int64 { return int64(binary.NativeEndian.Uint32(b[at+4*n:])) }
		key := at + word(1)
		value := key + word(2)
		end := value + word(3)
		if key < free || end > int64(len(b)) || key == value {
			p.fault(true, errors.New("an item is not in its place"))
			continue
		}
		free = end
		k := b[key:value:value]
		if outside(k, low, high) || (i > 0 && bytes.Compare(last, k) >= 0) {
			p.fault(true, errors.New("a leaf page is out of order"))
		}
		last = k
		visit(uint32(word(0)), k, b[value:end:end])
	}
}

func outside(key, low, high []byte) bool {
	return (low != nil && bytes.Compare(key, low) < 0) || (high != nil && bytes.Compare(key, high) >= 0)
}

// read returns a page with those it overflows into, or nil and a fault. The
// memory is used again for the next page of that depth.
func (p *pages) read(id uint64, depth int) []byte {
	var head [pageHeader]byte
	if id < 2 || id >= p.end {
		p.fault(false, fmt.Errorf("page %d is beyond the end", id))
		return nil
	}
	at := int64(id) * p.page
	if _, err := p.file.ReadAt(head[:], at); err != nil {
		p.fault(false, fmt.Errorf("read page %d: %w", id, err))
		return nil
	}
	span := uint64(binary.NativeEndian.Uint32(head[12:])) + 1
	if binary.NativeEndian.Uint64(head[:]) != id || span > p.end-id {
		p.fault(false, fmt.Errorf("page %d has a wrong head", id))
		return nil
	}
	for i := id; i < id+span; i++ {
		if p.live.has(i) {
			p.fault(false, fmt.Errorf("page %d is used twice", i))
			return nil
		}
		p.live.add(i)
	}
	need := int(span) * int(p.page)
	if cap(p.buffer[depth]) < need {
		p.buffer[depth] = make([]byte, need)
	}
	b := p.buffer[depth][:need]
	if _, err := p.file.ReadAt(b, at); err != nil {
		p.fault(false, fmt.Errorf("read page %d: %w", id, err))
		return nil
	}
	return b
}

// freelist checks that every page is either in use or free, and none is both.
func (p *pages) freelist() {
	if p.free == noFreelist {
		return
	}
	b := p.read(p.free, 0)
	if b == nil {
		return
	}
	count := uint64(binary.NativeEndian.Uint16(b[10:]))
	list := b[pageHeader:]
	if count == longFreelist {
		count, list = binary.NativeEndian.Uint64(list), list[8:]
	}
	if binary.NativeEndian.Uint16(b[8:]) != flagFreelist || count > uint64(len(list)/8) {
		p.fault(true, errors.New("the list of free pages is damaged"))
		return
	}
	free := make(bitmap, len(p.live))
	for i := range count {
		id := binary.NativeEndian.Uint64(list[8*i:])
		if id < 2 || id >= p.end || p.live.has(id) || free.has(id) {
			p.fault(true, fmt.Errorf("page %d is wrongly called free", id))
			return
		}
		free.add(id)
	}
	for id := range p.end {
		if !p.live.has(id) && !free.has(id) {
			p.fault(true, fmt.Errorf("page %d is neither used nor free", id))
			return
		}
	}
}

// used returns how many pages are in use.
func (p *pages) used() (n uint64) {
	for id := range p.end {
		if p.live.has(id) {
			n++
		}
	}
	return n
}
