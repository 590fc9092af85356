package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

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

// TestSalvageDoesNotBringBackWhatWasDeleted damages a record; records that were
// deleted are still on free pages, with right checksums.
func TestSalvageDoesNotBringBackWhatWasDeleted(t *testing.T) {
	shown := false
	for others := 10; others < 20; others++ { // how many decides which pages are used again
		path := filepath.Join(t.TempDir(), "j.db")
		j := open(t, path, Limits{})
		seq := begin(t, j, "T-OLD")
		for range others {
			begin(t, j, "T-2346")
		}
		keep(t, j, Batch{Undone: []uint64{seq}})
		if err := j.Prune(noon); err != nil {
			t.Fatal(err)
		}
		j.Close()
		b := must(os.ReadFile(path))(t)
		p := must(openPages(bytes.NewReader(b), int64(len(b))))(t)
		if err := p.walk(func(string, uint64) {}, func(item) {}); err != nil {
			t.Fatal(err)
		}
		old := func(p *pages) bool {
			found, _ := salvage(bytes.NewReader(b), int64(len(b)), p)
			return slices.ContainsFunc(found.records, func(r record) bool { return r.kind == kindIntent && sequenceOf(r.key) == seq })
		}
		shown = shown || old(nil)
		if old(p) {
			t.Errorf("after %d others: a deleted intent is back", others)
		}
	}
	if !shown {
		t.Error("nothing was left of a deleted record: the test shows nothing")
	}
}

func TestSalvageTakesTheNewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{})
	for i := range 10 {
		keep(t, j, Batch{Threats: []threat.Threat{{ID: "T-2346", Attempts: i}}, Entries: make([]Entry, 3)})
	}
	j.Close()
	b := must(os.ReadFile(path))(t)
	clear(b[:8192])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j = open(t, path, Limits{})
	if got := must(j.Contents())(t).Threats; len(got) != 1 || got[0].Attempts != 9 {
		t.Errorf("got %+v; want the last of ten states", got)
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

// TestPagesInACircle has a branch page with 200 children that are all itself.
func TestPagesInACircle(t *testing.T) {
	b := make([]byte, 4*4096)
	word, half := binary.NativeEndian.PutUint64, binary.NativeEndian.PutUint32
	for i := range 2 {
		m := b[i*4096+pageHeader:]
		half(m, boltMagic)
		half(m[4:], boltVersion)
		half(m[8:], 4096)
		word(m[16:], 3)
		word(m[32:], 2)
		word(m[40:], 4)
		word(m[48:], uint64(i))
	}
	seal(b)
	branch := b[3*4096:]
	word(branch, 3)
	half(branch[8:], flagBranch|200<<16)
	const keys = pageHeader + 200*element // where the keys stand, a byte each
	for i := range 200 {
		at := pageHeader + i*element
		half(branch[at:], uint32(keys+i-at))
		half(branch[at+4:], 1)
		word(branch[at+8:], 3)
		branch[keys+i] = byte(i + 1)
	}
	if s := inspect(bytes.NewReader(b), int64(len(b)), false); s.fault == nil {
		t.Error("got no fault")
	}
}

func TestFakeRecordInTextIsNoRecord(t *testing.T) {
	fake := recordOf(schema, kindThreat, "T-FAKE", `{"id":"T-FAKE"}`)
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{})
	keep(t, j, Batch{Entries: []Entry{{Text: string(fake.encode())}}})
	j.Close()
	b := must(os.ReadFile(path))(t)
	clear(b[:8192])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j = open(t, path, Limits{})
	if got := must(j.Contents())(t).Threats; len(got) != 0 {
		t.Errorf("got %+v out of the text of a line", got)
	}
	if got := must(j.History(0, 0))(t); len(got) != 1 {
		t.Errorf("got %d lines; want the one", len(got))
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

func TestMostlyFreeJournalIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{HistoryEntries: 10})
	begin(t, j, "T-2346")
	keep(t, j, Batch{Entries: slices.Repeat([]Entry{{Text: strings.Repeat("x", 1000)}}, 5000)})
	if err := j.Prune(noon); err != nil {
		t.Fatal(err)
	}
	last := must(j.History(0, -1))(t)[0].Seq
	j.Close()
	before := must(os.Stat(path))(t).Size()
	j = open(t, path, Limits{HistoryEntries: 10})
	if after := must(os.Stat(path))(t).Size(); after > before/10 {
		t.Errorf("got %d bytes of %d; want far fewer", after, before)
	}
	if j.Aside() != "" {
		t.Error("an unused part is no damage")
	}
	if got := must(j.Contents())(t).Intents; len(got) != 1 {
		t.Errorf("got %+v; want the open intent", got)
	}
	if seq := begin(t, j, "T-2346"); seq != last+1 {
		t.Errorf("got number %d; want %d", seq, last+1)
	}
}

// FuzzJournal overwrites parts of a sound journal, or cuts it, or takes the input
// for one. The agent must get a journal that works, whatever it finds.
func FuzzJournal(f *testing.F) {
	good := sample(f, filepath.Join(f.TempDir(), "j.db"))
	f.Add(uint32(0), uint32(0), []byte{1}, false)
	f.Add(uint32(16), uint32(0), []byte{0xff, 0xff, 0xff, 0xff}, true)
	f.Add(uint32(4*4096+8), uint32(0), []byte{2, 0, 255, 255}, false)
	f.Add(uint32(5*4096+16), uint32(0), []byte{0, 0, 0, 0, 255, 255, 255, 255}, false)
	f.Add(uint32(0), uint32(9000), []byte{}, false)
	f.Add(uint32(0), uint32(1), []byte("garbage"), false)
	f.Fuzz(func(t *testing.T, at, cut uint32, patch []byte, sealed bool) {
		bad := slices.Clone(good)
		copy(bad[int(at)%len(bad):], patch)
		if sealed {
			seal(bad)
		}
		if cut > 0 {
			bad = bad[:int(cut)%len(bad)]
		}
		path := filepath.Join(t.TempDir(), "j.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		usable(t, open(t, path, Limits{}))
	})
}

// seal gives the meta pages right checksums, so that what they say is believed.
func seal(b []byte) {
	for _, at := range []int{0, 4096} {
		m := b[at+pageHeader : at+pageHeader+metaSize]
		hash := fnv.New64a()
		hash.Write(m[:metaSize-8])
		binary.NativeEndian.PutUint64(m[metaSize-8:], hash.Sum64())
	}
}

func TestBoltIsNeverGivenAnUnsoundFile(t *testing.T) {
	dir := t.TempDir()
	good := sample(t, filepath.Join(dir, "j.db"))
	rnd := rand.New(rand.NewPCG(5, 6))
	passed := 0
	for range 150 {
		bad := slices.Clone(good)
		for range 1 + rnd.IntN(3) {
			bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
		}
		s := inspect(bytes.NewReader(bad), int64(len(bad)), true)
		if s.fault != nil || s.newer {
			continue
		}
		passed++
		path := filepath.Join(dir, "flipped.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, options())
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bbolt.Tx) (err error) {
			for e := range tx.Check() {
				err = errors.Join(err, e)
			}
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Error(err)
		}
	}
	if passed == 0 || passed == 150 {
		t.Errorf("%d of 150 passed: the test shows nothing", passed)
	}
}

// FuzzInspect is FuzzJournal without a disk: the look at a file must end, and
// must not trust it.
func FuzzInspect(f *testing.F) {
	good := sample(f, filepath.Join(f.TempDir(), "j.db"))
	f.Add(uint32(4096+pageHeader+16), []byte{3, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint32(2*4096+10), []byte{0xff, 0xff})
	f.Add(uint32(3*4096+8), []byte{1, 0, 9, 0})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		bad := slices.Clone(good)
		copy(bad[int(at)%len(bad):], patch)
		seal(bad)
		s := inspect(bytes.NewReader(bad), int64(len(bad)), true)
		found, _ := salvage(bytes.NewReader(bad), int64(len(bad)), s.pages)
		if s.fault == nil && len(found.records) < len(s.records) {
			t.Errorf("salvage found %d records of a sound journal; want %d", len(found.records), len(s.records))
		}
	})
}
