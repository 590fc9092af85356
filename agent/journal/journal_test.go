package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// open opens a journal and closes it with the test.
func open(t testing.TB, path string, l Limits) *Journal {
	t.Helper()
	j, err := Open(path, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// must returns what came without an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func begin(t testing.TB, j *Journal, id string) uint64 {
	t.Helper()
	return must(j.Begin(Intent{
		At: noon, Threat: id, Action: "close-port", Kind: "remediation", By: "policy",
		Subject: platform.Subject{Port: &platform.PortSubject{Protocol: platform.TCP, Port: 445, Unit: "smbd.service"}},
		Steps:   []string{"stop smbd.service", "mask smbd.service"},
		Inverse: json.RawMessage(`{"units":["smbd.service"]}`),
	}))(t)
}

func keep(t testing.TB, j *Journal, b Batch) {
	t.Helper()
	if err := j.Record(b); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsRecordedIsThereAfterRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "journal.db")
	j := open(t, path, Limits{})
	first, second := begin(t, j, "T-2346"), begin(t, j, "T-7892")
	state := State{
		Boot: "b1", Policy: []byte("version: firebreak/v1\n"),
		Isolation:    &Isolation{Reason: "test", By: "root (uid 0)", Since: noon, For: time.Hour, Spent: time.Minute},
		Restrictions: platform.Restrictions{Blocked: []platform.PortRule{{Protocol: platform.TCP, First: 445, Last: 445}}},
	}
	threats := []threat.Threat{{ID: "T-2346", Stage: threat.Remediated}, {ID: "T-7892", Stage: threat.Mitigated}}
	keep(t, j, Batch{
		Threats: threats, State: &state, Finished: []uint64{first},
		Entries: []Entry{{At: noon, Kind: "result", Threat: "T-2346", Text: "stopped smbd.service"}},
	})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	j = open(t, path, Limits{})
	got := must(j.Contents())(t)
	if !reflect.DeepEqual(got.Threats, threats) {
		t.Errorf("got threats %+v; want %+v", got.Threats, threats)
	}
	if !reflect.DeepEqual(got.State, state) {
		t.Errorf("got state %+v; want %+v", got.State, state)
	}
	if len(got.Intents) != 2 || got.Intents[0].Open || !got.Intents[1].Open || got.Intents[1].Seq != second {
		t.Errorf("got intents %+v; want a closed one that can be undone, and an open one", got.Intents)
	}
	if string(got.Intents[0].Inverse) != `{"units":["smbd.service"]}` {
		t.Errorf("got inverse %s", got.Intents[0].Inverse)
	}
	var lines []string
	for _, e := range must(j.History(0, 0))(t) {
		lines = append(lines, fmt.Sprintf("%d %s %s %s", e.Seq, e.Kind, e.Threat, e.Text))
	}
	want := []string{
		"1 intent T-2346 begins: stop smbd.service; mask smbd.service",
		"2 intent T-7892 begins: stop smbd.service; mask smbd.service",
		"3 result T-2346 stopped smbd.service",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got history %q; want %q", lines, want)
	}
	if info := must(os.Stat(path))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v; want 0600", info.Mode())
	}
}

func TestUndoneIntentIsNoLongerOffered(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"), Limits{})
	seq := begin(t, j, "T-2346")
	keep(t, j, Batch{Undone: []uint64{seq, 4711}})
	if got := must(j.Contents())(t).Intents; len(got) != 0 {
		t.Errorf("got %+v; want none", got)
	}
}

func TestHistoryPages(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"), Limits{})
	keep(t, j, Batch{Entries: make([]Entry, 10)})
	for _, c := range []struct {
		after uint64
		limit int
		want  []uint64
	}{
		{0, 3, []uint64{1, 2, 3}},
		{7, 0, []uint64{8, 9, 10}},
		{7, 2, []uint64{8, 9}},
		{0, -3, []uint64{8, 9, 10}},
		{8, -3, []uint64{9, 10}},
		{10, 0, nil},
		{1<<64 - 1, 0, nil},
		{4, -100, []uint64{5, 6, 7, 8, 9, 10}},
	} {
		var got []uint64
		for _, e := range must(j.History(c.after, c.limit))(t) {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("History(%d, %d): got %v; want %v", c.after, c.limit, got, c.want)
		}
	}
}

func TestBatchIsAllOrNothing(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"), Limits{})
	err := j.Record(Batch{
		Entries: []Entry{{Text: "not to be seen"}},
		Threats: []threat.Threat{{ID: "T-2346"}, {ID: ""}},
	})
	if err == nil {
		t.Fatal("a threat without an ID was taken")
	}
	if got := must(j.History(0, 0))(t); len(got) != 0 {
		t.Errorf("got %+v; want nothing of a batch that failed", got)
	}
	if got := must(j.Contents())(t).Threats; len(got) != 0 {
		t.Errorf("got %+v; want nothing of a batch that failed", got)
	}
}

func TestNothingNewIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{HistoryEntries: 100, ResolvedAge: time.Hour})
	b := Batch{Threats: []threat.Threat{{ID: "T-2346", Stage: threat.Mitigated}}, State: &State{Boot: "b1", Policy: []byte("x")}}
	keep(t, j, b)
	before := must(os.ReadFile(path))(t)
	keep(t, j, b)
	keep(t, j, Batch{})
	if err := j.Prune(noon); err != nil {
		t.Fatal(err)
	}
	if after := must(os.ReadFile(path))(t); !bytes.Equal(before, after) {
		t.Error("the file was written though nothing changed")
	}
}

func TestSecondAgentIsRefusedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{})
	begun := time.Now()
	if _, err := Open(path, Limits{}); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v; want ErrInUse", err)
	}
	if _, err := OpenReadOnly(path); !errors.Is(err, ErrInUse) {
		t.Errorf("read only: got %v; want ErrInUse", err)
	}
	if took := time.Since(begun); took > 200*time.Millisecond {
		t.Errorf("took %v; want an answer at once", took)
	}
	j.Close()
	open(t, path, Limits{})
}

func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	if _, err := OpenReadOnly(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v; want that there is none", err)
	}
	j := open(t, path, Limits{})
	begin(t, j, "T-2346")
	j.Close()
	before := must(os.ReadFile(path))(t)
	r := must(OpenReadOnly(path))(t)
	defer r.Close()
	if got := must(r.History(0, 0))(t); len(got) != 1 {
		t.Errorf("got %+v; want one line", got)
	}
	if _, err := r.Begin(Intent{}); !errors.Is(err, ErrCannotWrite) {
		t.Errorf("got %v; want ErrCannotWrite", err)
	}
	also := must(OpenReadOnly(path))(t)
	also.Close()
	if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
		t.Error("reading changed the file")
	}
}

func TestClosed(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"), Limits{})
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Error(err)
	}
	if _, err := j.Begin(Intent{}); err == nil {
		t.Error("a closed journal took an intent")
	}
	if _, err := j.History(0, 0); err == nil {
		t.Error("a closed journal was read")
	}
}

// newerJournal is a sound journal in which a newer agent wrote one record.
func newerJournal(t *testing.T, path string) []byte {
	t.Helper()
	j := open(t, path, Limits{})
	begin(t, j, "T-2346")
	err := j.db.Update(func(tx *bbolt.Tx) error {
		r := recordOf(schema+1, kindThreat, "T-7892", `{"unknown":"to us"}`)
		return tx.Bucket(kindThreat.bucket()).Put(r.key, r.encode())
	})
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	return must(os.ReadFile(path))(t)
}

func recordOf(schema byte, k kind, key, body string) record {
	return record{schema: schema, kind: k, number: 1, key: []byte(key), body: []byte(body)}
}

func TestNewerJournalIsNotTouched(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func([]byte)
	}{
		{"sound", func([]byte) {}},
		{"damaged too", func(b []byte) { clear(b[:8192]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "j.db")
			before := newerJournal(t, path)
			c.damage(before)
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, Limits{}); !errors.Is(err, ErrNewer) {
				t.Errorf("got %v; want ErrNewer", err)
			}
			if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
				t.Error("the file was changed")
			}
			if left := must(os.ReadDir(dir))(t); len(left) != 1 {
				t.Errorf("got %v; want nothing beside it", left)
			}
		})
	}
}

func TestMigrationsFollowEachOther(t *testing.T) {
	step := func(suffix string) migration {
		return func(rs []record) ([]record, error) {
			for i := range rs {
				rs[i].body = append(rs[i].body, suffix...)
			}
			return rs, nil
		}
	}
	steps := []migration{step(" to two"), step(" to three")}
	got := must(migrate([]record{recordOf(2, kindThreat, "k", "two")}, 2, steps))(t)
	if string(got[0].body) != "two to three" || got[0].schema != 3 {
		t.Errorf("got %q of schema %d", got[0].body, got[0].schema)
	}
	if _, err := migrate(nil, 0, steps); err == nil {
		t.Error("schema 0 was taken")
	}
	stuck := errors.New("stuck")
	_, err := migrate(nil, 1, []migration{func([]record) ([]record, error) { return nil, stuck }})
	if !errors.Is(err, stuck) {
		t.Errorf("got %v; want what stopped it", err)
	}
	if len(migrations) != schema-1 {
		t.Errorf("there are %d migrations to schema %d", len(migrations), schema)
	}
}

// TestInspectAgreesWithBolt writes and deletes at random: what bbolt itself finds
// sound, inspect must find sound, with every record.
func TestInspectAgreesWithBolt(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{HistoryEntries: 300, ResolvedAge: time.Hour})
	for round := range 60 {
		b := Batch{Entries: make([]Entry, rnd.IntN(40))}
		for range rnd.IntN(6) {
			x := threat.Threat{ID: fmt.Sprintf("T-%04d", rnd.IntN(200)), Summary: strings.Repeat("s", rnd.IntN(9000))}
			if rnd.IntN(2) == 0 {
				x.Stage = threat.Resolved
			}
			b.Threats = append(b.Threats, x)
		}
		if round%7 == 0 {
			b.State = &State{Policy: bytes.Repeat([]byte{byte(round)}, rnd.IntN(60000))}
			begin(t, j, "T-2346")
		}
		keep(t, j, b)
		if round%5 == 0 {
			if err := j.Prune(noon.Add(10000 * time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		err := j.db.View(func(tx *bbolt.Tx) error {
			var err error
			for e := range tx.Check() {
				err = errors.Join(err, e)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s := inspect(j.file, must(j.file.Stat())(t).Size(), true)
		if s.fault != nil || s.newer {
			t.Fatalf("round %d: got fault %v; want none", round, s.fault)
		}
		if s.lines != j.lines {
			t.Fatalf("round %d: got %d lines; want %d", round, s.lines, j.lines)
		}
	}
	if err := j.Prune(noon); err != nil {
		t.Fatal(err)
	}
	if got := must(j.History(0, 0))(t); len(got) > 330 || len(got) < 300 {
		t.Errorf("got %d lines; want about 300", len(got))
	}
}

// largeJournal has as much as the usual limits let in.
func largeJournal(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, Limits{})
	line := Entry{At: noon, Kind: "result", Threat: "T-2346", Action: "close-port", By: "policy", Text: strings.Repeat("stopped smbd.service ", 8)}
	for range 10 {
		keep(t, j, Batch{Entries: slices.Repeat([]Entry{line}, 1000)})
	}
	for i := range 100 {
		begin(t, j, fmt.Sprintf("T-%04d", i))
	}
	j.Close()
	return path
}

func BenchmarkOpen(b *testing.B) {
	path := largeJournal(b)
	b.ReportAllocs()
	for b.Loop() {
		open(b, path, Limits{}).Close()
	}
}

func BenchmarkBegin(b *testing.B) {
	j := open(b, largeJournal(b), Limits{})
	b.ReportAllocs()
	for b.Loop() {
		begin(b, j, "T-2346")
	}
}
