package rpm

import (
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// index is repomd.xml: which files a repository has.
type index struct {
	Data []indexFile `xml:"data"`
}

type indexFile struct {
	Type     string `xml:"type,attr"`
	Checksum struct {
		Type  string `xml:"type,attr"`
		Value string `xml:",chardata"`
	} `xml:"checksum"`
	Location struct {
		Href string `xml:"href,attr"`
	} `xml:"location"`
}

func parseIndex(r io.Reader) (index, error) {
	var i index
	err := xml.NewDecoder(io.LimitReader(r, 4<<20)).Decode(&i)
	if err == nil && i.file("primary") == nil {
		err = errors.New("names no packages")
	}
	return i, err
}

func (i index) file(kind string) *indexFile {
	n := slices.IndexFunc(i.Data, func(f indexFile) bool { return f.Type == kind })
	if n < 0 {
		return nil
	}
	return &i.Data[n]
}

// readRepository adds to an offer what a repository has, and returns when that was
// fetched. An error says that what it has is not known, or not all.
func (o *offer) readRepository(ctx context.Context, files *sources, caches []string, r *repository) (time.Time, error) {
	dir := ""
	for _, c := range caches { // the one that was fetched last, if two programs fetch
		at := filepath.Join(c, r.cache, "repodata")
		if files.changed(filepath.Join(at, "repomd.xml")).After(files.changed(filepath.Join(dir, "repomd.xml"))) {
			dir = at
		}
	}
	if dir == "" {
		return time.Time{}, fmt.Errorf("what repository %s offers was never fetched", r.id)
	}
	f, err := files.open(filepath.Join(dir, "repomd.xml"))
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	i, err := parseIndex(f)
	if err != nil {
		return time.Time{}, fmt.Errorf("repository %s: repomd.xml: %w", r.id, err)
	}
	for _, part := range []struct {
		kind string
		read func(io.Reader) error
	}{
		{"primary", func(in io.Reader) error { return o.readPrimary(ctx, in, r) }},
		{"updateinfo", func(in io.Reader) error { return o.readAdvisories(ctx, in) }},
		{"modules", o.readModules},
	} {
		if file := i.file(part.kind); file != nil {
			if err := file.read(files, dir, part.read); err != nil {
				return time.Time{}, fmt.Errorf("repository %s: %s: %w", r.id, part.kind, err)
			}
		}
	}
	return files.changed(filepath.Join(dir, filepath.Base(i.file("primary").Location.Href))), nil
}

// changed is when a file was last written; zero if it does not exist.
func (s *sources) changed(path string) time.Time {
	path = s.path(path)
	s.note(path)
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// read reads a file of a repository to its end, and holds it against its checksum:
// what was cut off must not pass for the whole.
func (i *indexFile) read(files *sources, dir string, read func(io.Reader) error) error {
	name := filepath.Base(i.Location.Href)
	f, err := files.open(filepath.Join(dir, name))
	if err != nil {
		if _, e := os.Stat(files.path(filepath.Join(dir, strings.TrimSuffix(name, filepath.Ext(name))+".zck"))); e == nil {
			return errors.New("is compressed by zchunk, which cannot be read yet")
		}
		return err
	}
	defer f.Close()
	var sum hash.Hash
	switch i.Checksum.Type {
	case "sha256":
		sum = sha256.New()
	case "sha512":
		sum = sha512.New()
	default:
		return fmt.Errorf("has a checksum of kind %q", i.Checksum.Type)
	}
	raw := io.TeeReader(f, sum)
	in, err := decompress(raw, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer in.Close()
	if err := read(in); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.TrimSpace(i.Checksum.Value) {
		return fmt.Errorf("%s does not have the checksum of the index", name)
	}
	return nil
}

// maxWindow is how much of what came before a decompressor keeps.
const maxWindow = 32 << 20

func decompress(r io.Reader, name string) (io.ReadCloser, error) {
	switch filepath.Ext(name) {
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		in, err := xz.ReaderConfig{DictCap: 1 << 20}.NewReader(r)
		return io.NopCloser(in), err
	case ".zst":
		in, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return in.IOReadCloser(), nil
	case ".bz2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	case ".xml", ".yaml":
		return io.NopCloser(r), nil
	}
	return nil, errors.New("is compressed in a way that cannot be read")
}

// maxElement is the size of the largest element that is taken for sound.
const maxElement = 16 << 20

// elements calls for each element of a document, from the text that begins it to the
// text that ends it. Most of them are of packages that are not installed, and not
// worth a parser. It returns what comes before the first.
func elements(ctx context.Context, r io.Reader, begin, end string, each func([]byte) error) (head string, err error) {
	buf, first := make([]byte, 0, 256<<10), true
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			i := bytes.Index(rest, []byte(begin))
			if first && (i >= 0 || err != nil || len(buf) >= 64<<10) {
				first, head = false, string(buf[:max(i, 0)])
				if i < 0 {
					head = string(buf[:min(len(buf), 4096)])
				}
			}
			if i < 0 {
				if !first {
					rest = rest[max(0, len(rest)-len(begin)+1):]
				}
				break
			}
			j := bytes.Index(rest[i:], []byte(end))
			if j < 0 {
				rest = rest[i:]
				break
			}
			if err := each(rest[i : i+j+len(end)]); err != nil {
				return head, err
			}
			rest = rest[i+j+len(end):]
		}
		switch {
		case err == io.EOF && len(rest) >= len(begin):
			return head, io.ErrUnexpectedEOF
		case err == io.EOF:
			return head, nil
		case err != nil:
			return head, err
		case len(rest) > maxElement:
			return head, fmt.Errorf("an element of more than %d bytes", maxElement)
		case ctx.Err() != nil:
			return head, ctx.Err()
		}
		buf = buf[:copy(buf, rest)]
	}
}

// attribute is an attribute in the text of an element, as it is written.
func attribute(b []byte, name string) string {
	_, after, ok := bytes.Cut(b, []byte(" "+name+`="`))
	value, _, closed := bytes.Cut(after, []byte(`"`))
	if !ok || !closed {
		return ""
	}
	return string(value)
}

// versionOf reads the three parts of a version as the metadata has them.
func versionOf(epoch, version, release string) (evr, error) {
	e := evr{version: version, release: release}
	if epoch != "" {
		n, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil {
			return evr{}, fmt.Errorf("epoch %q", epoch)
		}
		e.epoch = int64(n)
	}
	if version == "" {
		return evr{}, errors.New("package without a version")
	}
	return e, nil
}
