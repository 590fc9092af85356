package evidence

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

const (
	manifestName = "manifest.json"
	tempPattern  = ".EV-*.tmp"
	nameTime     = "20060102T150405.000Z"
)

// bundle is evidence on its way into a file.
type bundle struct {
	manifest Manifest
	files    []file
}

// file is one file of a bundle.
type file struct {
	name, what, note string
	data             []byte
}

// add takes a file up; of two with one name the first stays.
func (b *bundle) add(f file) {
	if !slices.ContainsFunc(b.files, func(x file) bool { return x.name == f.name }) {
		b.files = append(b.files, f)
	}
}

func (b *bundle) miss(what, reason string) {
	b.manifest.Gaps = append(b.manifest.Gaps, Gap{What: what, Reason: reason})
}

// pack returns the bundle as bytes. They depend on nothing but the evidence and
// its time.
func (b *bundle) pack() ([]byte, error) {
	slices.SortFunc(b.files, func(x, y file) int { return strings.Compare(x.name, y.name) })
	m := b.manifest
	m.Items = []Item{}
	m.Gaps = append([]Gap{}, m.Gaps...)
	for _, f := range b.files {
		m.Items = append(m.Items, Item{
			Name: f.name, What: f.what, Note: f.note, Size: int64(len(f.data)),
			SHA256: fmt.Sprintf("%x", sha256.Sum256(f.data)),
		})
	}
	list, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tape := tar.NewWriter(zip)
	for _, f := range append([]file{{name: manifestName, data: append(list, '\n')}}, b.files...) {
		head := tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: m.Written.Truncate(time.Second), Format: tar.FormatPAX}
		if err := tape.WriteHeader(&head); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := tape.Write(f.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := errors.Join(tape.Close(), zip.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// write puts the bundle into dir, whole and durable, under a name that is not
// taken.
func (b *bundle) write(dir string, now time.Time) (name string, err error) {
	data, err := b.pack()
	if err != nil {
		return "", err
	}
	if err := private(dir); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	for at := now; ; at = at.Add(time.Millisecond) {
		name = fileName(b.manifest.Threat, at)
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return name, platform.RenameDurably(f.Name(), filepath.Join(dir, name))
}

// private makes the folder, for root alone even if it was there before.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

func fileName(id string, at time.Time) string {
	return "EV-" + id + "-" + at.UTC().Format(nameTime) + ".tar.gz"
}
