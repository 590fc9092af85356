package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// sample writes a journal of many pages and returns its bytes.
func sample(t testing.TB, path string) []byte {
	t.Helper()
	j := open(t, path, Limits{})
	for i := range 40 {
		id := fmt.Sprintf("T-%04d", i)
		keep(t, j, Batch{
			Threats: []threat.Threat{{ID: id, Stage: threat.Identified, Summary: strings.Repeat("x", i*20)}},
			State:   &State{Boot: "b1", Policy: bytes.Repeat([]byte("p"), 9000)},
			Entries: []Entry{{Kind: "found", Threat: id}},
		})
		begin(t, j, id)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return must(os.ReadFile(path))(t)
}

// usable fails the test unless the journal takes and gives back an intent whose
// number was not given out before, and can be opened again without damage.
func usable(t testing.TB, j *Journal) {
	t.Helper()
	last := uint64(0)
	for _, e := range must(j.History(0, -1))(t) {
		last = e.Seq
	}
	seq := begin(t, j, "T-NEW")
	if seq <= last {
		t.Errorf("got number %d; want one after %d", seq, last)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, j.path, Limits{})
	if again.Aside() != "" {
		t.Errorf("the new journal is damaged too: %s", again.Aside())
	}
	found := slices.ContainsFunc(must(again.Contents())(t).Intents, func(i Intent) bool { return i.Seq == seq })
	if !found {
		t.Error("a new intent is lost")
	}
	again.Close()
}

func TestDamagedJournalIsSetAside(t *testing.T) {
	good := sample(t, filepath.Join(t.TempDir(), "j.db"))
	page := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[n*4096 : (n+1)*4096]); return b }
	}
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		least  int // intents that must be saved, of 40
	}{
		{"empty", func(b []byte) []byte { return nil }, 0},
		{"one byte", func(b []byte) []byte { return b[:1] }, 0},
		{"half of it", func(b []byte) []byte { return b[:len(b)/2] }, 5},
		{"garbage", func(b []byte) []byte {
			rnd := rand.New(rand.NewPCG(3, 4))
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			return b
		}, 0},
		{"all zero", func(b []byte) []byte { clear(b); return b }, 0},
		{"text", func(b []byte) []byte { return []byte("this is not a journal\n") }, 0},
		{"both meta pages", func(b []byte) []byte { clear(b[:8192]); return b }, 40},
		{"first meta page", page(0), 40},
		{"second meta page", page(1), 40},
		{"too large", func(b []byte) []byte { return append(b, make([]byte, largestFile)...) }, 40},
		{"the state", func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte(`"boot":"b1"`), []byte(`"boot":"b2"`))
		}, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.db")
			bad := c.damage(slices.Clone(good))
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenReadOnly(path); !errors.Is(err, ErrDamaged) {
				t.Fatalf("read only: got %v; want ErrDamaged", err)
			}
			j := open(t, path, Limits{})
			if !bytes.Equal(bad, must(os.ReadFile(j.Aside()))(t)) {
				t.Error("what was set aside is not what was there")
			}
			name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(j.Aside()), "journal-damaged-"), ".db")
			if _, err := time.Parse("20060102T150405", name); err != nil {
				t.Errorf("got %s; want a name with the time", j.Aside())
			}
			got := must(j.Contents())(t)
			if len(got.Intents) < c.least {
				t.Errorf("got %d intents; want at least %d of 40", len(got.Intents), c.least)
			}
			if seq := begin(t, j, "T-NEXT"); seq <= 80 {
				t.Errorf("got number %d, which was given out before the damage", seq)
			}
			usable(t, j)
		})
	}
}

// TestOnePageLostLosesNoMore clears each page in turn. What is on other pages
// must be saved, as it was last.
func TestOnePageLostLosesNoMore(t *testing.T) {
	dir := t.TempDir()
	good := sample(t, filepath.Join(dir, "j.db"))
	damaged := 0
	for at := 0; at+4096 <= len(good); at += 4096 {
		path := filepath.Join(dir, fmt.Sprintf("%d.db", at))
		bad := slices.Clone(good)
		clear(bad[at : at+4096])
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, path, Limits{})
		if j.Aside() == "" {
			j.Close()
			continue
		}
		damaged++
		got := must(j.Contents())(t)
		if lost := 120 - len(got.Threats) - len(got.Intents) - len(must(j.History(0, 0))(t))/2; lost > 20 {
			t.Errorf("page %d: %d records lost; want at most those on it", at/4096, lost)
		}
		for _, i := range got.Intents {
			if !i.Open {
				t.Errorf("page %d: intent %d is no longer open", at/4096, i.Seq)
			}
		}
		j.Close()
	}
	if damaged < 10 {
		t.Errorf("only %d pages of %d counted; want every one in use", damaged, len(good)/4096)
	}
}

func TestDamageIsNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	seen := map[string]bool{}
	for i := range 3 {
		if err := os.WriteFile(path, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, path, Limits{})
		seen[j.Aside()] = true
		j.Close()
	}
	if len(seen) != 3 {
		t.Errorf("got %v; want a name for each", seen)
	}
	for name := range seen {
		if info := must(os.Stat(name))(t); info.Size() != 1 {
			t.Errorf("%s has %d bytes; want 1", name, info.Size())
		}
	}
}

// TestOneOfManyGetsADamagedJournal starts agents all at once. The file is
// replaced under those that wait for it.
func TestOneOfManyGetsADamagedJournal(t *testing.T) {
	for range 8 {
		dir := t.TempDir()
		path := filepath.Join(dir, "j.db")
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := make(chan *Journal, 8)
		for range cap(got) {
			go func() {
				j, err := Open(path, Limits{})
				if err != nil && !errors.Is(err, ErrInUse) {
					t.Errorf("got %v; want the journal or ErrInUse", err)
				}
				got <- j
			}()
		}
		var winners []*Journal
		for range cap(got) {
			if j := <-got; j != nil {
				winners = append(winners, j)
			}
		}
		if len(winners) > 1 {
			t.Errorf("%d agents have the journal", len(winners))
		}
		for _, j := range winners {
			j.Close()
		}
		if aside := must(filepath.Glob(filepath.Join(dir, "journal-damaged-*")))(t); len(aside) != 1 {
			t.Errorf("got %v set aside; want one", aside)
		}
	}
}

// TestDamageWhileOpen does to the file what only happens by force, while bbolt
// has it mapped: reading a page that is gone is a fault, and must be an error.
func TestDamageWhileOpen(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(path string) error
	}{
		{"truncated", func(path string) error { return os.Truncate(path, 0) }},
		{"truncated to a page", func(path string) error { return os.Truncate(path, 4096) }},
		{"removed", os.Remove},
		{"replaced", func(path string) error {
			return errors.Join(os.WriteFile(path+"2", []byte("x"), 0o600), os.Rename(path+"2", path))
		}},
		{"zeroed", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(make([]byte, 1<<20))
			return errors.Join(err, f.Close())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.db")
			sample(t, path)
			j := open(t, path, Limits{})
			if err := c.damage(path); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := j.Begin(Intent{Threat: "T-2346"}); !errors.Is(err, ErrDamaged) {
					t.Errorf("got %v; want ErrDamaged", err)
				}
			}
			_, err := j.Contents()
			t.Logf("reading: %v", err)
			j.Close()
			again := open(t, path, Limits{})
			usable(t, again)
		})
	}
}
