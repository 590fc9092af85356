package platform

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestBootOfAContainer looks as the first process of a process namespace, which
// was started just now.
func TestBootOfAContainer(t *testing.T) {
	if os.Getpid() == 1 {
		b, err := ReadBoot(time.Now())
		if err != nil || b.Uptime > 10*time.Second || time.Since(b.Time) > 15*time.Second {
			t.Errorf("got %+v, %v; want a boot of just now", b, err)
		}
		return
	}
	b, err := ReadBoot(time.Now())
	if err != nil || b.ID == "" || b.Uptime <= 0 {
		t.Errorf("of this host: got %+v, %v", b, err)
	}
	if os.Geteuid() != 0 {
		t.Skip("a process namespace needs root")
	}
	time.Sleep(time.Until(b.Time.Add(30 * time.Second))) // or it shows nothing
	out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", os.Args[0], "-test.run=^TestBootOfAContainer$").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
