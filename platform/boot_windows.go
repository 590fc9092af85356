package platform

import (
	"time"

	"golang.org/x/sys/windows"
)

// ReadBoot tells how long this run of Windows has lasted at now, sleep included.
// Windows names its runs by nothing that lasts, so the ID is empty.
func ReadBoot(now time.Time) (Boot, error) {
	uptime := windows.DurationSinceBoot()
	return Boot{Uptime: uptime, Time: now.Add(-uptime).UTC().Truncate(time.Second)}, nil
}

// BootClock returns a ReadBoot for who asks often.
func BootClock() func(now time.Time) (Boot, error) { return ReadBoot }
