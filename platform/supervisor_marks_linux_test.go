package platform

import (
	"strings"
	"testing"
)

// sameWithoutMarks fails unless an edit can be taken back byte for byte, and
// done twice changes nothing.
func sameWithoutMarks(t *testing.T, before string, edit func(string) (string, error), m mark) {
	t.Helper()
	after, err := edit(before)
	if err != nil || strings.Contains(before, "#firebreak ") {
		return
	}
	if got := m.takeBack(after); got != before {
		t.Errorf("taken back: got %q; want %q; closed: %q", got, before, after)
	}
	if got := withoutMarks(after); got != before {
		t.Errorf("without marks: got %q; want %q; closed: %q", got, before, after)
	}
	if again, err := edit(after); err != nil || again != after {
		t.Errorf("closed twice: got %q, %v; want %q", again, err, after)
	}
}

func TestMarks(t *testing.T) {
	const before = "a\nb\nc\nd"
	x, y := markOf("cron", "x"), markOf("cron", "y")
	both := x.added("new") + "a\n" + x.off("b\n") + y.off("c\n") + "d"
	for name, c := range map[string]struct{ got, want string }{
		"x taken back first": {x.takeBack(both), "a\nb\n" + y.off("c\n") + "d"},
		"then y":             {y.takeBack(x.takeBack(both)), before},
		"y taken back first": {y.takeBack(both), x.added("new") + "a\n" + x.off("b\n") + "c\nd"},
		"then x":             {x.takeBack(y.takeBack(both)), before},
		"all":                {withoutMarks(both), before},
		"nothing to do":      {x.takeBack(before), before},
		"a comment like it":  {withoutMarks("#firebreak is good\n"), "#firebreak is good\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q; want %q", name, c.got, c.want)
		}
	}
}
