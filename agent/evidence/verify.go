package evidence

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrAltered says that a bundle is not as it was written.
var ErrAltered = errors.New("the evidence was altered or damaged")

// largestManifest bounds what is read into memory, in bytes.
const largestManifest = 8 << 20

// Verify reads the bundle at path and returns ErrAltered, with what is wrong,
// unless every item is there as the manifest says and nothing else is.
func Verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("verify evidence: %w", err)
	}
	defer f.Close()
	if err := verify(f); err != nil {
		return fmt.Errorf("%w: %w", ErrAltered, err)
	}
	return nil
}

func verify(r io.Reader) error {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	tape := tar.NewReader(zip)
	m, err := readManifest(tape)
	if err != nil {
		return err
	}
	for _, want := range m.Items {
		head, err := tape.Next()
		if err != nil {
			return fmt.Errorf("%s is missing: %w", want.Name, err)
		}
		if head.Name != want.Name || head.Size != want.Size || head.Typeflag != tar.TypeReg {
			return fmt.Errorf("%s is where %s should be", head.Name, want.Name)
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, tape); err != nil {
			return fmt.Errorf("read %s: %w", want.Name, err)
		}
		if fmt.Sprintf("%x", hash.Sum(nil)) != want.SHA256 {
			return fmt.Errorf("%s has another content than was kept", want.Name)
		}
	}
	if head, err := tape.Next(); err == nil {
		return fmt.Errorf("%s is not in the manifest", head.Name)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read to the end: %w", err)
	}
	// The checksum of gzip stands behind the end of the tar file.
	rest, err := io.Copy(io.Discard, zip)
	if err != nil {
		return fmt.Errorf("read to the end: %w", err)
	}
	if rest > 0 {
		return errors.New("something was appended")
	}
	return nil
}

func readManifest(tape *tar.Reader) (m Manifest, err error) {
	head, err := tape.Next()
	if err != nil || head.Name != manifestName {
		return m, errors.New("it does not begin with a manifest")
	}
	data, err := io.ReadAll(io.LimitReader(tape, largestManifest))
	if err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if m.Schema != schema {
		return m, fmt.Errorf("its manifest is of schema %d; this agent knows %d", m.Schema, schema)
	}
	return m, nil
}
