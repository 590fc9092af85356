package rpm

import (
	"strconv"
	"strings"
)

// evr is the version of a package: what orders it among those of its name.
type evr struct {
	epoch            int64
	version, release string
}

// parseEVR reads "epoch:version-release"; epoch and release may be missing.
func parseEVR(s string) evr {
	var e evr
	if before, after, ok := strings.Cut(s, ":"); ok {
		if n, err := strconv.ParseUint(before, 10, 32); err == nil {
			e.epoch, s = int64(n), after
		}
	}
	e.version, e.release, _ = strings.Cut(s, "-")
	return e
}

// String is the version as rpm prints it: an epoch of 0 is left out.
func (e evr) String() string {
	s := e.version
	if e.release != "" {
		s += "-" + e.release
	}
	if e.epoch != 0 {
		s = strconv.FormatInt(e.epoch, 10) + ":" + s
	}
	return s
}

// compare is negative if e is older than o, and positive if it is newer.
func (e evr) compare(o evr) int {
	switch {
	case e.epoch < o.epoch:
		return -1
	case e.epoch > o.epoch:
		return 1
	}
	if c := compareVersions(e.version, o.version); c != 0 {
		return c
	}
	return compareVersions(e.release, o.release)
}

// compareRange is compare, except that a release that o does not name is equal to
// any: that is how a dependency on a version is read.
func (e evr) compareRange(o evr) int {
	if o.release == "" {
		e.release = ""
	}
	return e.compare(o)
}

// Compare orders two versions, each "epoch:version-release" with the epoch and the
// release optional: negative if a is older, 0 if they are equal.
func Compare(a, b string) int { return parseEVR(a).compare(parseEVR(b)) }

// compareVersions orders two versions or two releases by the rules of rpm: runs of
// digits and runs of letters are compared one by one, whatever separates them
// counts for nothing. A tilde is older than the end, a caret newer than the end but
// older than anything else.
func compareVersions(a, b string) int {
	for {
		a, b = skipSeparators(a), skipSeparators(b)
		at, bt := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~")
		if at || bt {
			if at != bt {
				return older(at)
			}
			a, b = a[1:], b[1:]
			continue
		}
		ac, bc := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^")
		switch {
		case ac && bc:
			a, b = a[1:], b[1:]
			continue
		case ac:
			return older(b != "")
		case bc:
			return older(a == "")
		case a == "" || b == "":
			return len(a) - len(b)
		}
		digits := isDigit(a[0])
		of := isLetter
		if digits {
			of = isDigit
		}
		var as, bs string
		as, a = run(a, of)
		bs, b = run(b, of)
		if bs == "" {
			return older(!digits) // a number is newer than a word
		}
		if digits {
			as, bs = strings.TrimLeft(as, "0"), strings.TrimLeft(bs, "0")
			if len(as) != len(bs) {
				return len(as) - len(bs)
			}
		}
		if c := strings.Compare(as, bs); c != 0 {
			return c
		}
	}
}

func older(is bool) int {
	if is {
		return -1
	}
	return 1
}

func skipSeparators(s string) string {
	for i := range len(s) {
		if c := s[i]; isDigit(c) || isLetter(c) || c == '~' || c == '^' {
			return s[i:]
		}
	}
	return ""
}

func run(s string, of func(byte) bool) (run, rest string) {
	i := 0
	for i < len(s) && of(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
