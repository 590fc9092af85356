package apt

import (
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// list is one file of packages that apt has fetched from a source.
type list struct {
	path      string
	name      string // for a person: "deb.debian.org bookworm/main amd64"
	site      string
	component string
	arch      string
	flat      bool
	status    bool     // it is none, but the database of dpkg
	release   *release // nil if the source has none
	size      int64    // unpacked; -1 if nobody says
	priority  int
	pinned    bool // the priority is by a preference
}

// folder is where apt keeps what it fetched.
type folder struct {
	path  string
	names map[string]bool
}

// extensions are the ways in which apt keeps a file.
var extensions = []string{"", ".lz4", ".zst", ".gz", ".xz", ".bz2", ".lzma"}

// find is the path of a file, however it is compressed; "" if there is none.
func (f folder) find(name string) string {
	for _, ext := range extensions {
		if f.names[name+ext] {
			return path.Join(f.path, name+ext)
		}
	}
	return ""
}

// findLists finds the lists of all sources: no others, because apt leaves the lists
// of a source that was taken away. A list that should be there and is not is a problem.
func findLists(ctx context.Context, read *files, set *settings) (all []*list, problems []string) {
	f := folder{path: set.folder(), names: map[string]bool{}}
	names, err := read.list(f.path)
	if err != nil {
		problems = append(problems, "the lists of apt: "+err.Error())
	}
	for _, name := range names {
		f.names[name] = true
	}
	if len(set.sources) == 0 {
		problems = append(problems, "apt has no sources, so that nothing says what is missing")
	}
	seen := map[string]bool{}
	for _, s := range set.sources {
		found, err := f.listsOf(ctx, read, s, set)
		if err != nil {
			problems = append(problems, fmt.Sprintf("source %s %s: %v", site(s.uri), s.suite, err))
		}
		for _, l := range found {
			if !seen[l.path] {
				seen[l.path] = true
				all = append(all, l)
			}
		}
	}
	slices.Sort(problems)
	return all, slices.Compact(problems)
}

// listsOf finds the lists of one source.
func (f folder) listsOf(ctx context.Context, read *files, s source, set *settings) (all []*list, err error) {
	base := fileName(s.base(set.have.native))
	r, err := f.release(ctx, read, base)
	if err != nil {
		return nil, err
	}
	flat := strings.HasSuffix(s.suite, "/")
	components := s.components
	if flat {
		components = []string{""}
	}
	for _, c := range components {
		wanted := s.wanted(set.have.native, set.have.foreign)
		if flat {
			wanted = []string{""}
		} else {
			wanted = append(wanted, "all")
		}
		for _, arch := range wanted {
			index := "Packages"
			if !flat {
				index = c + "/binary-" + arch + "/Packages"
			}
			l := &list{
				path: f.find(base + strings.ReplaceAll(index, "/", "_")), site: site(s.uri),
				name:      strings.TrimSpace(site(s.uri) + " " + strings.TrimSuffix(s.suite+"/"+c, "/") + " " + arch),
				component: c, arch: arch, flat: flat, release: r, size: r.sizeOf(index),
			}
			switch {
			case l.path != "":
				all = append(all, l)
			case r == nil && arch != "all", r != nil && r.offers(index, arch) && l.size != 0:
				err = fmt.Errorf("what it offers in %q was never fetched", index)
			}
		}
	}
	return all, err
}

// release reads what the archive of a source says about itself; nil if it says
// nothing.
func (f folder) release(ctx context.Context, read *files, base string) (*release, error) {
	for _, name := range []string{"InRelease", "Release"} {
		if p := f.find(base + name); p != "" {
			in, err := openList(read, p)
			if err != nil {
				return nil, err
			}
			defer in.Close()
			r, err := parseRelease(ctx, in)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			r.path = p
			return r, nil
		}
	}
	return nil, nil
}

// openList opens a file that apt fetched, whichever way it is compressed.
func openList(read *files, path string) (io.ReadCloser, error) {
	f, err := read.open(path)
	if err != nil {
		return nil, err
	}
	in, err := decompress(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &both{in, f}, nil
}

// both reads one thing and closes that and another.
type both struct {
	io.ReadCloser
	under io.Closer
}

func (b *both) Close() error { return errors.Join(b.ReadCloser.Close(), b.under.Close()) }

// maxWindow is how much of what came before a decompressor keeps.
const maxWindow = 32 << 20

func decompress(r io.Reader, name string) (io.ReadCloser, error) {
	switch path.Ext(name) {
	case ".lz4":
		return io.NopCloser(lz4.NewReader(r)), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".zst":
		in, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return in.IOReadCloser(), nil
	case ".xz":
		in, err := xz.ReaderConfig{DictCap: 1 << 20}.NewReader(r)
		return io.NopCloser(in), err
	case ".bz2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	case ".lzma":
		return nil, errors.New("is compressed in a way that cannot be read")
	}
	return io.NopCloser(r), nil
}
