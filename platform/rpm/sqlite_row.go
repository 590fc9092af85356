package rpm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// payload is a row. Its overflow pages are only read as far as they are asked for.
type payload struct {
	of   *sqliteFile
	have []byte
	size int
	next uint32 // the overflow page that continues it, 0 at the end
}

// first returns the first n bytes of the row.
func (p *payload) first(n int) ([]byte, error) {
	if n > p.size {
		return nil, fmt.Errorf("sqlite: %d bytes of a row of %d", n, p.size)
	}
	for len(p.have) < n {
		if p.next == 0 {
			return nil, errors.New("sqlite: row ends early")
		}
		b, err := p.of.page(p.next)
		if err != nil {
			return nil, fmt.Errorf("sqlite: overflow: %w", err)
		}
		// No two rows share a page, and so a walk that meets more of them than there
		// are is going in circles.
		if p.of.overflow++; p.of.overflow > p.of.pages {
			return nil, fmt.Errorf("sqlite: overflow: %w", errLoop)
		}
		p.next = binary.BigEndian.Uint32(b)
		p.have = append(p.have, b[4:4+min(p.of.usable-4, p.size-len(p.have))]...)
	}
	return p.have[:n], nil
}

// column is where the value of a column lies in a row.
type column struct {
	kind     uint64
	from, to int
}

// columns reads where the first columns of a row lie. It fails if there are fewer.
func (p *payload) columns(want int) ([]column, error) {
	b, err := p.first(min(p.size, 9))
	if err != nil {
		return nil, err
	}
	head, n := varint(b)
	if n == 0 || head < uint64(n) || head > 10_000 {
		return nil, errors.New("sqlite: row without a header")
	}
	if b, err = p.first(int(head)); err != nil {
		return nil, err
	}
	var all []column
	at := int(head)
	for b = b[n:]; len(all) < want; {
		kind, n := varint(b)
		if n == 0 {
			return nil, fmt.Errorf("sqlite: row of %d columns; want %d", len(all), want)
		}
		b = b[n:]
		size := valueSize(kind)
		if size > uint64(p.size-at) {
			return nil, errors.New("sqlite: column goes beyond its row")
		}
		all = append(all, column{kind: kind, from: at, to: at + int(size)})
		at += int(size)
	}
	return all, nil
}

func valueSize(kind uint64) uint64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind >= 8:
		return 0
	default:
		return [...]uint64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
	}
}

func (p *payload) text(c column) (string, error) {
	if c.kind < 13 || c.kind%2 == 0 {
		return "", fmt.Errorf("sqlite: column of kind %d is no text", c.kind)
	}
	b, err := p.first(c.to)
	if err != nil {
		return "", err
	}
	return string(b[c.from:c.to]), nil
}

func (p *payload) number(c column) (int64, error) {
	switch {
	case c.kind == 8, c.kind == 9:
		return int64(c.kind - 8), nil
	case c.kind == 0 || c.kind > 6:
		return 0, fmt.Errorf("sqlite: column of kind %d is no number", c.kind)
	}
	b, err := p.first(c.to)
	if err != nil {
		return 0, err
	}
	v := int64(int8(b[c.from]))
	for _, c := range b[c.from+1 : c.to] {
		v = v<<8 | int64(c)
	}
	return v, nil
}

// blob is a column of a row as the prefix of a header.
type blob struct {
	row *payload
	column
}

func (b blob) first(n int) ([]byte, error) {
	if n > b.to-b.from {
		return nil, fmt.Errorf("%d bytes of %d", n, b.to-b.from)
	}
	all, err := b.row.first(b.from + n)
	if err != nil {
		return nil, err
	}
	return all[b.from:], nil
}

// headers reads the headers of all packages.
func (d *sqliteFile) headers(each func(prefix) error) error {
	root, err := d.root("Packages")
	if err != nil {
		return err
	}
	return d.rows(root, func(_ int64, row *payload) error {
		columns, err := row.columns(2)
		if err != nil {
			return err
		}
		if c := columns[1]; c.kind < 12 || c.kind%2 != 0 {
			return fmt.Errorf("sqlite: header is of kind %d", c.kind)
		}
		return each(blob{row: row, column: columns[1]})
	})
}
