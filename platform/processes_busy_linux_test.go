package platform

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestEndWhatTheKernelIsBusyFor has a process that writes to a file system which
// takes no writes: no signal ends it until that does.
func TestEndWhatTheKernelIsBusyFor(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	needTools(t, "mkfs.ext4", "mount", "fsfreeze")
	t.Parallel()
	dir := t.TempDir()
	at := dir + "/disk"
	script := fmt.Sprintf("truncate -s 32M %[1]s/image && mkfs.ext4 -q %[1]s/image && mkdir %[2]s && mount -o loop %[1]s/image %[2]s", dir, at)
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Skipf("needs a loop device: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "--lazy", at).Run() })
	if out, err := exec.Command("fsfreeze", "--freeze", at).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	thaw := func() { _ = exec.Command("fsfreeze", "--unfreeze", at).Run() }
	t.Cleanup(thaw)
	cmd := exec.Command("sh", "-c", `echo x >"$0/file"; sleep 60`, at)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	time.Sleep(200 * time.Millisecond) // until it is in the kernel
	start, err := startOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	id := ProcessID{PID: cmd.Process.Pid, Start: start}
	if _, err := (procProcesses{}).Freeze(t.Context(), id); err == nil || !strings.Contains(err.Error(), "does not stop") {
		t.Errorf("freeze: got %v; want that it does not stop", err)
	}
	began := time.Now()
	err = procProcesses{}.End(t.Context(), id, time.Second)
	if err == nil || !strings.Contains(err.Error(), "was killed and still does not end") {
		t.Errorf("end: got %v; want that it was killed and is still there", err)
	}
	if took := time.Since(began); took > time.Second+killWait+5*time.Second {
		t.Errorf("it took %v", took)
	}
	thaw()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it did not end when the kernel could")
	}
}
