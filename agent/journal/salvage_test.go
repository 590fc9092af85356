package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

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
