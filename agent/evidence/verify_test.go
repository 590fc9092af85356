package evidence

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packed returns a tar file, gzipped, of names and contents in turn.
func packed(t testing.TB, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tape := tar.NewWriter(zip)
	for i := 0; i < len(files); i += 2 {
		if err := tape.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tape.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tape.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTamperedBundleIsFound(t *testing.T) {
	m, about := samba()
	names, contents, _ := unpack(t, collect(t, m, about, t.TempDir(), Limits{}))
	again := func(change func(name, text string) []string) []byte {
		var files []string
		for _, name := range names {
			files = append(files, change(name, string(contents[name]))...)
		}
		return packed(t, files...)
	}
	whole := again(func(name, text string) []string { return []string{name, text} })
	for _, c := range []struct {
		name string
		data []byte
		want string // "": it is in order
	}{
		{"untouched", whole, ""},
		{"an item changed", again(func(name, text string) []string {
			return []string{name, strings.ReplaceAll(text, "/usr/sbin/smbd", "/usr/sbin/sshd")}
		}), "another content"},
		{"an item removed", again(func(name, text string) []string {
			if name == "processes.json" {
				return nil
			}
			return []string{name, text}
		}), "where processes.json should be"},
		{"an item added", again(func(name, text string) []string {
			if name == "units.json" {
				return []string{name, text, "more.json", "{}"}
			}
			return []string{name, text}
		}), "more.json is not in the manifest"},
		{"no manifest", packed(t, "threat.json", "{}"), "does not begin with a manifest"},
		{"a bad manifest", packed(t, manifestName, "{"), "read manifest"},
		{"a newer manifest", packed(t, manifestName, `{"schema": 2}`), "of schema 2"},
		{"cut off", whole[:len(whole)-9], "read to the end"},
		{"appended to", append(append([]byte{}, whole...), packed(t, "x", "y")...), "appended"},
		{"empty", nil, "unpack"},
		{"not a bundle", []byte("hello"), "unpack"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b.tar.gz")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			err := Verify(path)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v; want no fault", err)
			case c.want != "" && (!errors.Is(err, ErrAltered) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v; want ErrAltered with %q", err, c.want)
			}
		})
	}
	if err := Verify(filepath.Join(t.TempDir(), "none")); err == nil || errors.Is(err, ErrAltered) {
		t.Errorf("got %v; want that it is not there", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(packed(f, manifestName, `{"schema":1,"items":[{"name":"a","size":1,"sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}]}`, "a", "a"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = verify(bytes.NewReader(data))
	})
}
