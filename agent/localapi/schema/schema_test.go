package schema

import (
	"strings"
	"testing"
)

func TestViolations(t *testing.T) {
	good := `{"schema":1,"error":{"code":"refused","message":"no"}}`
	if got := Violations("failure", []byte(good)); len(got) != 0 {
		t.Errorf("good text: got %v", got)
	}
	look := func(due string) string { return `{"name":"after reboot","due":` + due + `}` }
	for text, want := range map[string]string{
		`{"schema":2,"error":{"code":"refused","message":"no"}}`:             "schema: got 2",
		`{"schema":1,"error":{"code":"odd","message":"no"}}`:                 "failure.error.code: got odd",
		`{"schema":1,"error":{"code":"refused"}}`:                            "lacks message",
		`{"schema":1,"error":{"code":"refused","message":"no"},"more":true}`: "has more",
		`{"schema":1,"error":[]}`:                                            "failure.error: got []interface",
		`{`:                                                                  "not JSON",
	} {
		if got := strings.Join(Violations("failure", []byte(text)), "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: got %q; want %q", text, got, want)
		}
	}
	for due, bad := range map[string]bool{
		`null`: false, `"2026-11-23T12:00:00Z"`: false, `"2026-11-23T12:00:00+01:00"`: true, `"soon"`: true, `7`: true,
	} {
		if got := Violations("look", []byte(look(due))); (len(got) > 0) != bad {
			t.Errorf("due %s: got %v; want a violation: %v", due, got, bad)
		}
	}
}
