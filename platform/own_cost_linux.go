package platform

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func ownCost() (uint64, float64) {
	var rss uint64
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident uint64
		if _, err := fmt.Sscan(string(data), &size, &resident); err == nil {
			rss = resident * uint64(os.Getpagesize())
		}
	}
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) != nil {
		return rss, 0
	}
	return rss, float64(use.Utime.Nano()+use.Stime.Nano()) / 1e9
}
