package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/firebreak-sec/firebreak/platform"
)

func TestReadState(t *testing.T) {
	isolated := func(boot string) *State {
		return &State{
			Boot: boot, Policy: []byte("version: firebreak/v1\n"),
			Restrictions: platform.Restrictions{Isolation: &platform.Isolation{DHCP: true, Lease: time.Minute}},
		}
	}
	for _, c := range []struct {
		name   string
		damage func([]byte)
		err    error
	}{
		{"sound", func([]byte) {}, nil},
		{"without its first pages", func(b []byte) { clear(b[:8192]) }, ErrDamaged},
		{"in a line of the history", func(b []byte) { b[bytes.LastIndex(b, []byte("a line"))]++ }, nil},
		{"in every older state", func(b []byte) {
			for _, old := range []string{`"boot":"b1"`, `"boot":"b2"`} {
				for at := bytes.Index(b, []byte(old)); at >= 0; at = bytes.Index(b, []byte(old)) {
					b[at]++
				}
			}
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.db")
			j := open(t, path, Limits{})
			for _, boot := range []string{"b1", "b2", "b3"} {
				keep(t, j, Batch{State: isolated(boot), Entries: []Entry{{Text: "a line"}}})
			}
			if _, err := ReadState(path); !errors.Is(err, ErrInUse) {
				t.Errorf("while an agent runs: %v; want ErrInUse", err)
			}
			j.Close()
			b := must(os.ReadFile(path))(t)
			c.damage(b)
			if err := os.WriteFile(path, b, 0o400); err != nil {
				t.Fatal(err)
			}
			got, err := ReadState(path)
			if !errors.Is(err, c.err) {
				t.Errorf("got %v; want %v", err, c.err)
			}
			if want := isolated("b3"); got.Boot != want.Boot || !bytes.Equal(got.Policy, want.Policy) || !got.Restrictions.Equal(want.Restrictions) {
				t.Errorf("got %+v; want %+v", got, want)
			}
			if !bytes.Equal(b, must(os.ReadFile(path))(t)) || len(must(os.ReadDir(filepath.Dir(path)))(t)) != 1 {
				t.Error("reading changed something")
			}
		})
	}
}

func TestReadStateOfNoJournal(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadState(filepath.Join(dir, "none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a journal: %v", err)
	}
	path := filepath.Join(dir, "j.db")
	j := open(t, path, Limits{})
	err := j.db.Update(func(tx *bbolt.Tx) error {
		r := recordOf(schema+1, kindAgent, keySchema, "null")
		return tx.Bucket(kindAgent.bucket()).Put(r.key, r.encode())
	})
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	if _, err := ReadState(path); !errors.Is(err, ErrNewer) {
		t.Errorf("of a newer agent: %v; want ErrNewer", err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("no journal"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadState(path); !errors.Is(err, ErrDamaged) || got.Boot != "" {
		t.Errorf("of something else: %+v, %v; want nothing, ErrDamaged", got, err)
	}
}

func BenchmarkReadState(b *testing.B) {
	path := largeJournal(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadState(path); err != nil {
			b.Fatal(err)
		}
	}
}
