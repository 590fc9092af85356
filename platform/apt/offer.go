package apt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
)

// offer is what the lists have of the packages that are installed.
type offer struct {
	have     *installed
	versions map[key][]*pkg
}

func newOffer(have *installed) *offer {
	o := &offer{have: have, versions: map[key][]*pkg{}}
	for _, p := range have.packages {
		o.versions[have.key(p)] = nil
	}
	return o
}

// readList adds what one list has. An error says that it is not known, or not all.
func (o *offer) readList(ctx context.Context, read *files, l *list) error {
	return eachPackage(ctx, read, l, func(name []byte, s stanza) {
		if o.have.names[string(name)] {
			o.add(parsePackage(s), l)
		}
	})
}

// add keeps a version of a package that is installed. The same version in two lists
// is one.
func (o *offer) add(p *pkg, l *list) {
	k := o.have.key(p)
	have, ok := o.versions[k]
	if !ok || p.version == "" {
		return
	}
	if i := slices.IndexFunc(have, func(q *pkg) bool { return q.version == p.version }); i >= 0 {
		if !slices.Contains(have[i].lists, l) {
			have[i].lists = append(have[i].lists, l)
		}
		return
	}
	p.lists = []*list{l}
	o.versions[k] = append(have, p)
}

var heading = []byte("Package: ")

// eachPackage calls for each package of a list, with its name. The list must be as
// long as its archive says: what was cut off must not pass for the whole.
func eachPackage(ctx context.Context, read *files, l *list, each func(name []byte, s stanza)) error {
	in, err := openList(read, l.path)
	if err != nil {
		return err
	}
	defer in.Close()
	count := &counter{Reader: in}
	damaged := false
	err = stanzas(ctx, count, func(s stanza) {
		var name []byte
		if bytes.HasPrefix(s, heading) {
			name, _, _ = bytes.Cut(s[len(heading):], []byte("\n"))
			name = bytes.TrimSpace(name)
		} else {
			s.fields(func(field, value []byte) {
				if named(field, "package") {
					name = value
				}
			})
		}
		if len(name) == 0 {
			damaged = true
			return
		}
		each(name, s)
	})
	switch {
	case err != nil:
		return err
	case l.size >= 0 && count.n != l.size:
		return errors.New("is not what its archive announces, or was cut off")
	case damaged:
		return errors.New("has an entry without a name")
	}
	return nil
}

// counter counts what is read.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}
