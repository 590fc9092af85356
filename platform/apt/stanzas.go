package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// maxStanza is the size of the largest paragraph that is taken for sound.
const maxStanza = 4 << 20

// stanzas calls for each paragraph of a file of fields, as it is written. The bytes
// are only good during the call.
func stanzas(ctx context.Context, r io.Reader, each func(stanza)) error {
	buf := make([]byte, 0, 256<<10)
	var empty int
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			i := bytes.Index(rest, []byte("\n\n"))
			if i < 0 {
				break
			}
			if i > 0 {
				each(rest[:i+1])
			}
			rest = rest[i+2:]
		}
		switch {
		case err == io.EOF:
			if rest = bytes.TrimLeft(rest, "\n"); len(rest) > 0 {
				each(rest)
			}
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case len(rest) > maxStanza:
			return fmt.Errorf("a paragraph of more than %d bytes", maxStanza)
		}
		if empty++; n > 0 {
			empty = 0
		} else if empty > 100 {
			return errors.New("gives nothing")
		}
		buf = buf[:copy(buf, rest)]
	}
}

// stanza is the text of one paragraph.
type stanza []byte

// fields calls for each field, with its lines after the first as they are written.
func (s stanza) fields(each func(name, value []byte)) {
	for len(s) > 0 {
		end := 0
		for {
			i := bytes.IndexByte(s[end:], '\n')
			if i < 0 {
				end = len(s)
				break
			}
			end += i + 1
			if end == len(s) || s[end] != ' ' && s[end] != '\t' {
				break
			}
		}
		if i := bytes.IndexByte(s[:end], ':'); i > 0 && s[0] != '#' {
			each(s[:i], bytes.TrimSpace(s[i+1:end]))
		}
		s = s[end:]
	}
}

// named says that a field has that name, which is given in lower case.
func named(field []byte, name string) bool {
	if len(field) != len(name) {
		return false
	}
	for i := range name {
		c := field[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
