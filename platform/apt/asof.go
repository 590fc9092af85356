package apt

import "time"

// The stamps are files that are touched when apt has asked all sources with success:
// by a hook of apt on Ubuntu, and by the daily timer on Debian.
var stamps = []string{"/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/periodic/update-stamp"}

// asOf is when the host last learned what is offered: of its lists, the one that is
// known to have been compared with its archive the longest ago.
//
// The time of a list does not say so: apt gives it that of the server's own file, and
// leaves it alone as long as the archive has nothing new, which may be months. Known
// is when the stamps were set, and when apt last put a list of the same site in its
// place, which is the time that its inode changed, though none later than the folder
// did: when a disk is copied all inodes are new, while folders keep their times.
// Nothing is younger than the day until which its archive vouches for it: a run of apt
// that reached nobody succeeds as well, and sets the second stamp.
func asOf(read *files, folder string, lists []*list) time.Time {
	var asked time.Time
	for _, s := range stamps {
		asked = later(asked, read.note(s).time())
	}
	placed := map[string]time.Time{}
	for _, l := range lists {
		placed[l.site] = later(placed[l.site], l.placed(read, folder))
	}
	var oldest time.Time
	for _, l := range lists {
		at := later(asked, placed[l.site])
		if r := l.release; r != nil {
			at = later(at, r.date)
			if !r.validUntil.IsZero() && at.After(r.validUntil) {
				at = r.validUntil
			}
		}
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// placed is when apt put in place what an archive says about itself, or its list if it
// says nothing.
func (l *list) placed(read *files, folder string) time.Time {
	path := l.path
	if l.release != nil {
		path = l.release.path
	}
	at, changed := placedAt(read.path(path)), read.note(folder).time()
	if at.After(changed) {
		return changed
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// time is when a file was last changed; zero if it does not exist.
func (m mark) time() time.Time {
	if m.missing {
		return time.Time{}
	}
	return time.Unix(0, m.changed).UTC()
}
