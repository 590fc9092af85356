//go:build faults

package platform

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// faultHits counts how often the chosen point was passed.
var faultHits atomic.Int64

// FaultPoint ends the program as a crash would (exit without cleaning up, by
// SIGKILL) when FIREBREAK_FAULT names this point: "point" or "point#3" for the
// third time it is passed. Every point that is passed is appended to the file
// FIREBREAK_FAULT_LOG, so that a test can tell that each was hit.
func FaultPoint(name string) {
	if log := os.Getenv("FIREBREAK_FAULT_LOG"); log != "" {
		if f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, name)
			f.Close()
		}
	}
	point, count, _ := strings.Cut(os.Getenv("FIREBREAK_FAULT"), "#")
	if point != name {
		return
	}
	want, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		want = 1
	}
	if faultHits.Add(1) == want {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			_ = p.Kill()
		}
		select {}
	}
}

// faultLacks tells whether FIREBREAK_FAULT_LACKS, names with commas between
// them, has this ability of the kernel.
func faultLacks(ability string) bool {
	return slices.Contains(strings.Split(os.Getenv("FIREBREAK_FAULT_LACKS"), ","), ability)
}
