package configs

import "testing"

func TestSuggest(t *testing.T) {
	fields := []string{"port", "protocol", "process", "severity", "preempt", "plan"}
	for given, want := range map[string]string{
		"prot":     `did you mean "port"?`,
		"sev":      `did you mean "severity"?`,
		"Severity": `did you mean "severity"?`,
		"severety": `did you mean "severity"?`,
		"plans":    `did you mean "plan"?`,
		"xyzzy":    "use port, protocol, process, severity, preempt or plan",
		"":         "use port, protocol, process, severity, preempt or plan",
	} {
		if got := suggest(given, fields); got != want {
			t.Errorf("%q: got %s; want %s", given, got, want)
		}
	}
	for _, words := range [][2]string{{"dney", "deny"}, {"den", "deny"}, {"denny", "deny"}, {"dexy", "deny"}} {
		if got := distance(words[0], words[1]); got != 1 {
			t.Errorf("%s, %s: got %d slips; want 1", words[0], words[1], got)
		}
	}
}
