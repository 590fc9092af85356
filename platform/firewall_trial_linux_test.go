package platform

import (
	"os/exec"
	"testing"
)

// What a kernel lacks is found out, and nothing is left of the trial.
func TestLackingLeavesNothing(t *testing.T) {
	needTools(t, "nft")
	inNewNetns(t, func(t *testing.T) {
		lacks, err := Lacking(t.Context(), Isolation{Units: []string{"rustdesk.service"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("this kernel lacks %q", lacks)
		if out, err := exec.Command("nft", "list", "ruleset").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("left behind: %s, %v", out, err)
		}
	})
}
