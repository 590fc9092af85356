package apt

import (
	"time"

	"golang.org/x/sys/unix"
)

// placedAt is when a file was put where it is; zero if it does not exist.
func placedAt(path string) time.Time {
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil {
		return time.Time{}
	}
	return time.Unix(s.Ctim.Unix()).UTC()
}
