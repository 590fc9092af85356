//go:build linux

package lab_test

import (
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/lab"
)

// windowsPackages are those of which all tests pass in the build for Windows.
var windowsPackages = []string{"platform", "actions", "agent/detect", "agent/policy", "agent/threat"}

// TestOnWindows runs the tests of the build for Windows in Wine.
func TestOnWindows(t *testing.T) {
	t.Parallel()
	w := lab.NewWine(t)
	for _, pkg := range windowsPackages {
		t.Run(pkg, func(t *testing.T) {
			out, err := w.Test(t, "github.com/firebreak-sec/firebreak/"+pkg)
			t.Logf("%d passed, %d skipped", strings.Count(out, "--- PASS"), strings.Count(out, "--- SKIP"))
			if err != nil {
				t.Errorf("%v\n%s", err, failures(out))
			}
		})
	}
}

// failures are the lines of a test's output that say what failed.
func failures(out string) string {
	var kept []string
	lines := strings.Split(out, "\n")
	for i, line := range lines {
		if strings.Contains(line, "--- FAIL") || strings.Contains(line, "panic:") {
			kept = append(kept, lines[max(0, i-10):i+1]...)
		}
	}
	if len(kept) == 0 {
		kept = lines[max(0, len(lines)-15):]
	}
	return strings.Join(kept, "\n")
}
