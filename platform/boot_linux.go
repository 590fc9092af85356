package platform

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ReadBoot tells which run of the kernel this is, and how long it has lasted at
// now. In a booted container both are the container's own: it has lasted as long as
// its first process. The time of the boot follows the clock: it moves when the
// clock is set, as it does in /proc/stat.
func ReadBoot(now time.Time) (Boot, error) { return BootClock()(now) }

// BootClock returns a ReadBoot that reads no file twice: who asks often keeps it.
func BootClock() func(now time.Time) (Boot, error) {
	fixed := sync.OnceValues(readFixedBoot)
	return func(now time.Time) (Boot, error) {
		boot, err := fixed()
		if err != nil {
			return Boot{}, err
		}
		var since unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
			return Boot{}, fmt.Errorf("read time since boot: %w", err)
		}
		uptime := max(0, time.Duration(since.Nano())-boot.first)
		return Boot{ID: boot.id, Uptime: uptime, Time: now.Add(-uptime).UTC().Truncate(time.Second)}, nil
	}
}

// fixedBoot is what stays the same for as long as this process lives.
type fixedBoot struct {
	id    string
	first time.Duration // see firstStarted
}

func readFixedBoot() (fixedBoot, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fixedBoot{}, fmt.Errorf("read boot ID: %w", err)
	}
	return fixedBoot{id: strings.TrimSpace(string(id)), first: firstStarted()}, nil
}

// firstStarted is when the first process was started, as time since the kernel
// was: next to nothing, but in a container. Where that may not be read it is 0.
func firstStarted() time.Duration {
	stat, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return 0
	}
	// The name in brackets may hold anything; the start is the 22nd field of all.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 63)
	if err != nil {
		return 0
	}
	const hertz = 100 // what user space is told in, on every architecture
	return time.Duration(ticks) * time.Second / hertz
}
