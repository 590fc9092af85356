package rpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// sqliteFile is a database file of SQLite, read only, and only as much of the
// format as it takes to walk a table: https://www.sqlite.org/fileformat.html. It is
// read without a lock; whoever reads it asks afterwards whether it changed.
type sqliteFile struct {
	file     io.ReaderAt
	log      writeAheadLog
	pageSize int
	usable   int // of a page
	pages    uint32
	overflow uint32 // pages of that kind that were read
	window   []byte // of the file, so that not every page is a system call
	from     int64
}

// The bounds of a walk.
const (
	maxDepth   = 20
	windowSize = 128 << 10
)

var errLoop = errors.New("pages form a loop")

// openSQLite reads the header of a database. size is that of the file.
func openSQLite(file io.ReaderAt, size int64, log writeAheadLog) (*sqliteFile, error) {
	d := &sqliteFile{file: file, log: log}
	var head [100]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("sqlite header: %w", err)
	}
	if string(head[:16]) != "SQLite format 3\x00" {
		return nil, errors.New("not a database of sqlite")
	}
	d.pageSize = int(binary.BigEndian.Uint16(head[16:]))
	if d.pageSize == 1 {
		d.pageSize = 1 << 16
	}
	d.usable = d.pageSize - int(head[20])
	if d.pageSize < 512 || d.pageSize&(d.pageSize-1) != 0 || d.usable < 480 {
		return nil, fmt.Errorf("sqlite: pages of %d bytes", d.pageSize)
	}
	if log.pageSize != 0 && log.pageSize != d.pageSize {
		return nil, fmt.Errorf("sqlite: pages of %d bytes, in the log of %d", d.pageSize, log.pageSize)
	}
	d.pages = uint32(min(size/int64(d.pageSize), 1<<31))
	if size%int64(d.pageSize) != 0 {
		return nil, fmt.Errorf("sqlite: %d bytes are no whole number of pages", size)
	}
	stated := binary.BigEndian.Uint32(head[28:])
	sure := binary.BigEndian.Uint32(head[24:]) == binary.BigEndian.Uint32(head[92:])
	if log.committed > 0 {
		d.pages = log.committed
	} else if sure && stated > d.pages {
		return nil, fmt.Errorf("sqlite: %d pages of %d are missing", stated-d.pages, stated)
	}
	return d, nil
}

// page returns a page, good until the next call.
func (d *sqliteFile) page(n uint32) ([]byte, error) {
	if n == 0 || n > d.pages {
		return nil, fmt.Errorf("sqlite: page %d of %d", n, d.pages)
	}
	if at, ok := d.log.at[n]; ok {
		b := make([]byte, d.pageSize)
		_, err := d.log.file.ReadAt(b, at)
		return b, err
	}
	at := int64(n-1) * int64(d.pageSize)
	if at < d.from || at+int64(d.pageSize) > d.from+int64(len(d.window)) {
		if d.window == nil {
			d.window = make([]byte, windowSize)
		}
		d.window = d.window[:windowSize]
		got, err := d.file.ReadAt(d.window, at)
		d.window, d.from = d.window[:got], at
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if got < d.pageSize {
			return nil, io.ErrUnexpectedEOF
		}
	}
	b := d.window[at-d.from:]
	return b[:d.pageSize], nil
}

// root finds the first page of a table.
func (d *sqliteFile) root(table string) (uint32, error) {
	found := uint32(0)
	err := d.rows(1, func(_ int64, of *payload) error {
		columns, err := of.columns(5)
		if err != nil {
			return err
		}
		kind, err := of.text(columns[0])
		if err != nil || kind != "table" {
			return err
		}
		name, err := of.text(columns[1])
		if err != nil || !strings.EqualFold(name, table) {
			return err
		}
		n, err := of.number(columns[3])
		found = uint32(n)
		return err
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("sqlite: no table %s", table)
	}
	return found, err
}

// rows calls for each row of the table that begins at a page.
func (d *sqliteFile) rows(root uint32, row func(id int64, of *payload) error) error {
	return d.walk(root, 0, map[uint32]bool{}, row)
}

func (d *sqliteFile) walk(n uint32, depth int, seen map[uint32]bool, row func(int64, *payload) error) error {
	if seen[n] || depth > maxDepth {
		return fmt.Errorf("sqlite: page %d: %w", n, errLoop)
	}
	seen[n] = true
	b, err := d.page(n)
	if err != nil {
		return fmt.Errorf("sqlite: page %d: %w", n, err)
	}
	b = append([]byte(nil), b...) // the rows read other pages
	head := 0
	if n == 1 {
		head = 100
	}
	count := int(binary.BigEndian.Uint16(b[head+3:]))
	cells, interior := head+8, false
	switch b[head] {
	case 0x05:
		cells, interior = head+12, true
	case 0x0d:
	default:
		return fmt.Errorf("sqlite: page %d is of kind %d", n, b[head])
	}
	if cells+2*count > d.usable {
		return fmt.Errorf("sqlite: page %d has %d cells", n, count)
	}
	for i := range count {
		at := int(binary.BigEndian.Uint16(b[cells+2*i:]))
		if at+4 > d.usable {
			return fmt.Errorf("sqlite: page %d: cell %d lies outside", n, i)
		}
		if interior {
			err = d.walk(binary.BigEndian.Uint32(b[at:]), depth+1, seen, row)
		} else {
			err = d.leafCell(b[:d.usable], at, row)
		}
		if err != nil {
			return err
		}
	}
	if interior {
		return d.walk(binary.BigEndian.Uint32(b[head+8:]), depth+1, seen, row)
	}
	return nil
}

func (d *sqliteFile) leafCell(page []byte, at int, row func(int64, *payload) error) error {
	size, n := varint(page[at:])
	id, m := varint(page[at+n:])
	if n == 0 || m == 0 || size > maxHeader {
		return fmt.Errorf("sqlite: cell of %d bytes", size)
	}
	p := &payload{of: d, size: int(size)}
	at += n + m
	local := d.local(p.size)
	if at+local > len(page) || local < p.size && at+local+4 > len(page) {
		return errors.New("sqlite: cell goes beyond its page")
	}
	p.have = page[at : at+local : at+local]
	if local < p.size {
		p.next = binary.BigEndian.Uint32(page[at+local:])
	}
	return row(int64(id), p)
}

// local is how much of a payload is in its cell; the rest is in overflow pages.
func (d *sqliteFile) local(size int) int {
	most := d.usable - 35
	if size <= most {
		return size
	}
	least := (d.usable-12)*32/255 - 23
	if n := least + (size-least)%(d.usable-4); n <= most {
		return n
	}
	return least
}

// varint reads a number of one to nine bytes, and how many they are; 0 if b ends
// before it does.
func varint(b []byte) (v uint64, n int) {
	for i := range min(len(b), 9) {
		if i == 8 {
			return v<<8 | uint64(b[i]), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
