package rpm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzDatabase reads a damaged database: whatever it holds, the reading ends.
func FuzzDatabase(f *testing.F) {
	small, err := os.ReadFile("testdata/rpmdb.sqlite")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small, uint32(4096), uint32(2))
	f.Fuzz(func(_ *testing.T, b []byte, at, to uint32) {
		if len(b) >= 8 { // a page that points to another one is what a mutation seldom makes
			b = slices.Clone(b)
			binary.BigEndian.PutUint32(b[int(at)%(len(b)-4):], to)
		}
		db, err := openSQLite(bytes.NewReader(b), int64(len(b)), writeAheadLog{})
		if err != nil {
			return
		}
		_ = db.headers(func(of prefix) error {
			_, err := parsePackage(of)
			return err
		})
	})
}

func FuzzLog(f *testing.F) {
	f.Add([]byte("\x37\x7f\x06\x82\x00\x2d\xe2\x18\x00\x00\x10\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = readLog(bytes.NewReader(b), int64(len(b)))
	})
}

// whole is a header of which everything is there.
type whole []byte

func (w whole) first(n int) ([]byte, error) {
	if n > len(w) {
		return nil, errors.New("too short")
	}
	return w, nil
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x03\xe8\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01a\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parsePackage(whole(b))
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add(advisoriesText)
	f.Add(`<metadata packages="1"><package type="rpm"><name>plain</name><arch>x86_64</arch><version epoch="0" ver="2" rel="1"/>` +
		`<format><rpm:obsoletes><rpm:entry name="gone" flags="LT" epoch="0" ver="2"/></rpm:obsoletes></format></package></metadata>`)
	f.Add("---\ndocument: modulemd\ndata:\n  name: m\n  stream: \"1\"\n  artifacts:\n    rpms:\n    - plain-0:1-1.x86_64\n...\n")
	f.Add(`<repomd><data type="primary"><location href="repodata/p.xml.gz"/></data></repomd>`)
	f.Fuzz(func(_ *testing.T, text string) {
		all := []installed{{name: "plain", arch: "x86_64", evr: evr{version: "1"}}, {name: "gone", arch: "x86_64", evr: evr{version: "1"}}}
		o := newOffer(all)
		_ = o.readPrimary(context.Background(), strings.NewReader(text), &repository{})
		_ = o.readAdvisories(context.Background(), strings.NewReader(text))
		_ = o.readModules(strings.NewReader(text))
		_, _ = parseIndex(strings.NewReader(text))
		decide(all, settings{obsoletes: true, locks: parseLocks(text)}, o)
	})
}

func FuzzConfig(f *testing.F) {
	f.Add("[main]\nexclude=a,b\n  c\n# no\n[r]\nenabled=1\nbaseurl=http://$releasever/\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseConfig(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, c := range all {
			newRepository(c, map[string]string{"releasever": "9"})
		}
	})
}

// TestDatabaseOfTestdata reads a real database without the tools that make one.
func TestDatabaseOfTestdata(t *testing.T) {
	got, err := readInstalled(context.Background(), "testdata/rpmdb.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range got {
		names = append(names, nevra(p.name, p.evr, p.arch)+" "+p.source+" "+p.module)
	}
	slices.Sort(names)
	want := []string{
		"bind-32:9.16.23-1.el9.x86_64 bind ",
		"nodejs-0:18.1-1.el9.x86_64 nodejs nodejs:18",
		"tzdata-0:2026a-1.el9.noarch tzdata ",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q; want %q", names, want)
	}
}

// TestDatabaseWithLog reads a database of which the newest part is in the log only,
// and one of which the log ends in the middle of a change.
func TestDatabaseWithLog(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3, to write to a database and leave the log behind")
	}
	path := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	b, err := os.ReadFile("testdata/rpmdb.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(b))
	const script = `
import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("pragma journal_mode=wal")
c.execute("pragma wal_autocheckpoint=0")
c.execute("delete from Packages where hnum = (select min(hnum) from Packages)")
c.commit()
c.execute("insert into Packages (blob) select blob from Packages")
c.commit()
os._exit(0)
`
	if out, err := exec.Command("python3", "-c", script, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	count := func(want int) {
		t.Helper()
		all, err := readInstalled(context.Background(), path)
		if err != nil || len(all) != want {
			t.Errorf("%d packages, %v; want %d", len(all), err, want)
		}
	}
	count(4)
	log, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	log[len(log)-1]++ // the second change is no longer whole
	writeFile(t, path+"-wal", string(log))
	count(2)
	writeFile(t, path+"-journal", "x")
	if _, err := readInstalled(context.Background(), path); err == nil {
		t.Error("a change that was broken off is no error")
	}
}
