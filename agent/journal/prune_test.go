package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

func TestHistoryIsCappedByNumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{HistoryEntries: 100})
	for n := 1; n <= 400; n++ {
		keep(t, j, Batch{Entries: []Entry{{At: noon, Text: "x"}}})
		lines := must(j.History(0, 0))(t)
		if len(lines) > 110 || len(lines) < min(n, 100) {
			t.Fatalf("after %d lines: got %d; want 100 to 110", n, len(lines))
		}
		if last := lines[len(lines)-1].Seq; last != uint64(n) {
			t.Fatalf("after %d lines: the last is %d", n, last)
		}
	}
	if j.Close(); open(t, path, Limits{}).lines != j.lines {
		t.Error("the number of lines was counted wrong")
	}
}

// TestHistoryNeverFillsTheFile writes more than the file may hold, without any
// limit and without pruning: an intent must always find room.
func TestHistoryNeverFillsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{})
	first := begin(t, j, "T-2346")
	line := Entry{At: noon, Text: strings.Repeat("x", 2000)}
	for range 50 {
		keep(t, j, Batch{Entries: slices.Repeat([]Entry{line}, 1000)})
		begin(t, j, "T-7892")
	}
	size := must(j.file.Stat())(t).Size()
	if size > largestFile {
		t.Errorf("got %d bytes; want at most %d", size, largestFile)
	}
	counted := j.bytes
	j.Close()
	j = open(t, path, Limits{})
	if j.bytes != counted {
		t.Errorf("counted %d bytes of lines; want %d", counted, j.bytes)
	}
	if got := must(j.Contents())(t).Intents; len(got) != 51 || got[0].Seq != first {
		t.Errorf("got %d intents; want all 51", len(got))
	}
}

func TestOldLinesGo(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"), Limits{HistoryAge: 100 * time.Hour})
	for h := range 200 {
		keep(t, j, Batch{Entries: []Entry{{At: noon.Add(time.Duration(h) * time.Hour)}}})
	}
	oldest := func(at time.Duration) uint64 {
		if err := j.Prune(noon.Add(at * time.Hour)); err != nil {
			t.Fatal(err)
		}
		return must(j.History(0, 1))(t)[0].Seq
	}
	if got := oldest(109); got != 1 {
		t.Errorf("after 109 h the oldest is %d; want 1, within a tenth", got)
	}
	if got := oldest(150); got != 51 {
		t.Errorf("after 150 h the oldest is %d; want 51", got)
	}
}

func TestPruneKeepsWhatCanBeUndone(t *testing.T) {
	resolved := func(id string, days int) threat.Threat {
		return threat.Threat{ID: id, Stage: threat.Resolved, ResolvedAt: noon.AddDate(0, 0, -days)}
	}
	j := open(t, filepath.Join(t.TempDir(), "j.db"), Limits{ResolvedAge: 30 * 24 * time.Hour})
	keep(t, j, Batch{Threats: []threat.Threat{
		resolved("T-LONG", 31), resolved("T-LATE", 29), resolved("T-BUSY", 31), {ID: "T-OPEN", Stage: threat.Mitigated},
	}})
	for _, i := range []struct {
		threat           string
		finished, undone bool
	}{
		{"T-LONG", true, false},
		{"T-LATE", true, false},
		{"T-BUSY", false, false},
		{"T-OPEN", true, false},
		{"T-OPEN", true, true},
		{"T-LOST", true, false},
	} {
		seq := begin(t, j, i.threat)
		b := Batch{}
		if i.finished {
			b.Finished = []uint64{seq}
		}
		if i.undone {
			b.Undone = []uint64{seq}
		}
		keep(t, j, b)
	}
	nothingToUndo := must(j.Begin(Intent{Threat: "T-OPEN", Action: "flag-os-upgrade"}))(t)
	keep(t, j, Batch{Finished: []uint64{nothingToUndo}})
	if err := j.Prune(noon); err != nil {
		t.Fatal(err)
	}
	s := inspect(j.file, must(j.file.Stat())(t).Size(), true)
	var left []string
	for _, r := range s.records {
		switch r.kind {
		case kindThreat:
			left = append(left, string(r.key))
		case kindIntent:
			left = append(left, fmt.Sprintf("intent %d", sequenceOf(r.key)))
		}
	}
	slices.Sort(left)
	want := []string{"T-BUSY", "T-LATE", "T-OPEN", "intent 2", "intent 3", "intent 4", "intent 6"}
	if !slices.Equal(left, want) {
		t.Errorf("got %q; want %q", left, want)
	}
}

func TestMostlyFreeJournalIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{})
	begin(t, j, "T-2346")
	keep(t, j, Batch{Entries: slices.Repeat([]Entry{{Text: strings.Repeat("x", 1000)}}, 5000)})
	j.Close()
	j = open(t, path, Limits{HistoryEntries: 10})
	keep(t, j, Batch{Entries: make([]Entry, 1)})
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
