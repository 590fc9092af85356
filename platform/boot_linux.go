package platform

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ReadBoot tells which run of the kernel this is, and how long it has lasted at
// now. In a booted container the ID
// is the container's own. The time of the boot follows the clock: it moves when
// the clock is set, as it does in /proc/stat.
func ReadBoot(now time.Time) (Boot, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Boot{}, fmt.Errorf("read boot ID: %w", err)
	}
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return Boot{}, fmt.Errorf("read time since boot: %w", err)
	}
	uptime := time.Duration(since.Nano())
	return Boot{
		ID: strings.TrimSpace(string(id)), Uptime: uptime,
		Time: now.Add(-uptime).UTC().Truncate(time.Second),
	}, nil
}
