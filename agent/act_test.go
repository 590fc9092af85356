package agent

import (
	"fmt"
	"slices"
	"testing"
)

// TestHeldStillWhileEvidenceIsKept ends a program that nobody started but a person.
func TestHeldStillWhileEvidenceIsKept(t *testing.T) {
	b := newBench(t, enforcing)
	pid := b.m.AddProcess("/opt/evil", tcp("0.0.0.0:6379"))
	b.look()
	var order []string
	for _, call := range b.m.Calls() {
		for _, name := range []string{"Freeze", "Thaw", "End"} {
			if call == fmt.Sprintf("Processes.%s %d", name, pid) {
				order = append(order, name)
			}
		}
	}
	if want := []string{"Freeze", "Thaw", "End"}; !slices.Equal(order, want) {
		t.Errorf("got %v; want %v", order, want)
	}
	if th := b.only(6379); len(th.Evidence) != 1 {
		t.Errorf("evidence %v; want a bundle", th.Evidence)
	}
}
