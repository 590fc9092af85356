//go:build linux

package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestPlatformOnRealHost runs the tests of package platform that need a systemd,
// and may change its units, on a host that is made for it.
func TestPlatformOnRealHost(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	binary := filepath.Join(t.TempDir(), "platform.test")
	build := exec.Command("go", "test", "-c", "-o", binary, "github.com/firebreak-sec/firebreak/platform")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of platform: %v: %s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	h.Put(t, "/root/platform.test", 0o755, content)
	out, errs, code := h.Try("env", "FIREBREAK_CHANGE_THIS_HOST=1", "/root/platform.test", "-test.v", "-test.run=^TestReal")
	if code != 0 || !strings.Contains(out, "--- PASS: TestReal") || strings.Contains(out, "--- SKIP: TestReal") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
