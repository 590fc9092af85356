package threat

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/configs"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// TestDiagram compares the table of stages with the table of the design, cell
// by cell: a stage that is added to one must be added to the other.
func TestDiagram(t *testing.T) {
	allowed := map[Stage]string{
		Identified: "mitigated remediated waiting excepted resolved",
		Mitigated:  "remediated waiting excepted resolved identified",
		Remediated: "resolved mitigated identified waiting",
		Waiting:    "identified mitigated remediated excepted resolved",
		Excepted:   "identified",
		Resolved:   "identified",
	}
	stages := []Stage{Identified, Mitigated, Remediated, Resolved, Waiting, Excepted}
	for _, from := range stages {
		for _, to := range stages {
			want := from == to || slices.Contains(strings.Fields(allowed[from]), string(to))
			x := Threat{ID: "T-TEST", Stage: from}
			if got := x.move(to) == nil; got != want {
				t.Errorf("%s to %s: allowed %v; want %v", from, to, got, want)
			}
		}
	}
}

func TestOnlyAProofResolves(t *testing.T) {
	x := Threat{ID: "T-TEST", Stage: Remediated}
	if err := x.Move(Resolved); err == nil {
		t.Error("a threat was resolved without a proof")
	}
	for _, v := range []detect.Verdict{detect.Unknown, detect.Persists} {
		x := Threat{ID: "T-TEST", Stage: Remediated}
		if _, err := x.Prove([]Proof{{Verdict: detect.Cleared}, {Verdict: v}}, noon); err != nil || x.Stage == Resolved {
			t.Errorf("one proof cleared, one %s: stage %s, error %v", v, x.Stage, err)
		}
	}
	if v, err := x.Prove([]Proof{{Verdict: detect.Cleared}, {Verdict: detect.Cleared}}, noon); v != detect.Cleared || err != nil || x.Stage != Resolved {
		t.Errorf("two cleared proofs: %s, %v, stage %s", v, err, x.Stage)
	}
}

func TestAProofLeavesAnExceptionAlone(t *testing.T) {
	for _, v := range []detect.Verdict{detect.Cleared, detect.Persists, detect.Unknown} {
		x := Threat{ID: "T-TEST", Stage: Excepted}
		if got, err := x.Prove([]Proof{{Verdict: v}}, noon); got != v || err != nil || x.Stage != Excepted {
			t.Errorf("%s: got %s, %v, stage %s", v, got, err, x.Stage)
		}
	}
}

func TestAnotherPlanNeedsItsOwnApproval(t *testing.T) {
	x := Threat{ID: "T-TEST", Key: "k", Detector: "d", Stage: Waiting, WaitingFor: ForPerson, Plan: "ask", Approved: "jd", Attempts: 3}
	f, err := Follow([]Threat{x}, []detect.Finding{{Key: "k", Detector: "d", Plan: "shut"}}, []string{"d"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Threats[0]; got.Approved != "" || got.Attempts != 0 || got.Stage != Identified || got.Plan != "shut" {
		t.Errorf("got %+v", got)
	}
}

func TestActsAreBounded(t *testing.T) {
	var x Threat
	for i := range 1000 {
		x.Did(Act{Seq: uint64(i)})
	}
	if len(x.Actions) != maxActs || x.Actions[maxActs-1].Seq != 999 {
		t.Errorf("%d acts, the newest %d", len(x.Actions), x.Actions[len(x.Actions)-1].Seq)
	}
}

func TestOverByEitherClock(t *testing.T) {
	now := time.Now() // with both clocks
	until := now.Add(time.Hour)
	for _, c := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"not yet", now, false},
		{"both", now.Add(2 * time.Hour), true},
		{"the wall clock alone: the computer slept", now.Add(2 * time.Hour).Round(0), true},
	} {
		if got := Over(until, c.at); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func TestNoProofIsUnknown(t *testing.T) {
	for _, c := range []struct {
		proofs string
		want   detect.Verdict
	}{
		{"", detect.Unknown},
		{"cleared", detect.Cleared},
		{"cleared unknown", detect.Unknown},
		{"unknown persists cleared", detect.Persists},
	} {
		var proofs []Proof
		for _, v := range strings.Fields(c.proofs) {
			proofs = append(proofs, Proof{Verdict: detect.Verdict(v)})
		}
		if got := Conclude(proofs); got != c.want {
			t.Errorf("%q: got %s; want %s", c.proofs, got, c.want)
		}
	}
}

func TestThreeAttemptsThenAPerson(t *testing.T) {
	x := Threat{ID: "T-TEST", Stage: Identified, InForce: []string{"block-port"}}
	persists := []Proof{{Verdict: detect.Persists}}
	for n := 1; n <= MaxAttempts; n++ {
		if err := x.Move(Remediated); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Prove(persists, noon); err != nil {
			t.Fatal(err)
		}
		want := Mitigated
		if n == MaxAttempts {
			want = Waiting
		}
		if x.Stage != want || x.Attempts != n {
			t.Fatalf("after attempt %d: stage %s, %d attempts; want %s", n, x.Stage, x.Attempts, want)
		}
	}
	if x.WaitingFor != ForPerson {
		t.Errorf("waits for %s; want person", x.WaitingFor)
	}
}

func TestSameThreatComesBack(t *testing.T) {
	found := detect.Finding{Detector: "open-port", Key: "k", Severity: configs.High, Summary: "s"}
	look := func(known []Threat, findings ...detect.Finding) Followed {
		t.Helper()
		f, err := Follow(known, findings, []string{"open-port"}, noon)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := look(nil, found)
	if len(f.New) != 1 || f.Threats[0].Stage != Identified {
		t.Fatalf("first look: %+v", f)
	}
	id := f.Threats[0].ID
	f = look(f.Threats)
	if len(f.Gone) != 1 || f.Threats[0].Stage != Identified {
		t.Fatalf("a threat that was not found is a candidate for a proof, no more: %+v", f)
	}
	if _, err := f.Threats[0].Prove([]Proof{{Verdict: detect.Cleared}}, noon); err != nil {
		t.Fatal(err)
	}
	f = look(f.Threats, found)
	if got := f.Threats[0]; len(f.Back) != 1 || got.ID != id || got.Recurrences != 1 || got.Stage != Identified {
		t.Errorf("it came back as %+v; want the same threat, once more", got)
	}
	blind, err := Follow(f.Threats, nil, nil, noon)
	if err != nil || len(blind.Gone) != 0 {
		t.Errorf("a detector that could not look made %v gone (%v)", blind.Gone, err)
	}
	allowed := found
	allowed.Allowed = true
	if f := look(nil, allowed); len(f.Threats) != 0 {
		t.Errorf("what policy allows became a threat: %+v", f.Threats)
	}
}

func TestExceptionsEnd(t *testing.T) {
	for _, c := range []struct {
		name, exe string
		now       time.Time
		want      Stage
	}{
		{"before its date", "a", noon, Excepted},
		{"on its date", "a", noon.Add(time.Hour), Identified},
		{"program changed", "b", noon, Identified},
		{"program not readable", "", noon, Excepted},
	} {
		x := Threat{ID: "T-TEST", Stage: Excepted, Exception: &Exception{Owner: "jd", Until: noon.Add(time.Hour), Exe: "a"}}
		ended, err := x.Expire(c.now, c.exe)
		if err != nil || x.Stage != c.want || (ended != "") != (c.want == Identified) {
			t.Errorf("%s: stage %s, said %q, error %v; want %s", c.name, x.Stage, ended, err, c.want)
		}
	}
}

func TestIDsAreStableAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	taken := func(id string) bool { return seen[id] }
	first := NewID("open-port/tcp/445//smbd.service", taken)
	if len(first) != 6 || !strings.HasPrefix(first, "T-") {
		t.Fatalf("ID is %q", first)
	}
	for i := range 5000 {
		id := NewID(fmt.Sprint("key", i), taken)
		if seen[id] {
			t.Fatalf("%s was given twice", id)
		}
		seen[id] = true
	}
	if again := NewID("open-port/tcp/445//smbd.service", func(string) bool { return false }); again != first {
		t.Errorf("the same key got %s and %s", first, again)
	}
}

func TestWorstFirst(t *testing.T) {
	threats := []Threat{
		{ID: "resolved", Stage: Resolved, Severity: configs.Critical},
		{ID: "low", Stage: Identified, Severity: configs.Low},
		{ID: "newer", Stage: Waiting, Severity: configs.High, FirstSeen: noon},
		{ID: "older", Stage: Mitigated, Severity: configs.High},
		{ID: "excepted", Stage: Excepted, Severity: configs.Critical},
	}
	Worst(threats)
	var got []string
	for _, x := range threats {
		got = append(got, x.ID)
	}
	if want := []string{"older", "newer", "low", "excepted", "resolved"}; !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}

// TestDiagramIsDrawn keeps the diagram in the comment of Stage, where the next
// reader looks for it.
func TestDiagramIsDrawn(t *testing.T) {
	source, err := os.ReadFile("threat.go")
	if err != nil {
		t.Fatal(err)
	}
	for s := range next {
		if !strings.Contains(string(source), "//\t") || !strings.Contains(string(source), string(s)) {
			t.Errorf("threat.go draws no %s", s)
		}
	}
}
