package apt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// release is what an archive says about itself.
type release struct {
	origin, label, suite, codename, version string
	date, validUntil                        time.Time
	notAutomatic, butUpgrades               bool
	path                                    string
	architectures                           []string
	noAll                                   bool // its lists for all architectures are not to be fetched
	// indexes are the lists of packages it has, and how long they are unpacked, -1 if
	// it does not say; nil if it does not name its files.
	indexes map[string]int64
}

// offers says that an archive has a list, which apt therefore fetches.
func (r *release) offers(index, arch string) bool {
	if arch == "all" && (r.noAll || !slices.Contains(r.architectures, "all")) {
		return false
	}
	_, ok := r.indexes[index]
	return ok || r.indexes == nil
}

// sizeOf is how long a list is unpacked; -1 if nobody says.
func (r *release) sizeOf(index string) int64 {
	if r != nil {
		if size, ok := r.indexes[index]; ok {
			return size
		}
	}
	return -1
}

// parseRelease reads a Release or InRelease file. Its signature was the business of
// who fetched it.
func parseRelease(ctx context.Context, in io.Reader) (*release, error) {
	r := &release{}
	found := false
	err := stanzas(ctx, in, func(s stanza) {
		if bytes.HasPrefix(s, []byte("-----BEGIN PGP SIGNED")) || found {
			return
		}
		found = true
		s.fields(func(name, value []byte) {
			switch {
			case named(name, "origin"):
				r.origin = string(value)
			case named(name, "label"):
				r.label = string(value)
			case named(name, "suite"):
				r.suite = string(value)
			case named(name, "codename"):
				r.codename = string(value)
			case named(name, "version"):
				r.version = string(value)
			case named(name, "date"):
				r.date = parseDate(value)
			case named(name, "valid-until"):
				r.validUntil = parseDate(value)
			case named(name, "notautomatic"):
				r.notAutomatic = yes(string(value), false)
			case named(name, "butautomaticupgrades"):
				r.butUpgrades = yes(string(value), false)
			case named(name, "architectures"):
				r.architectures = strings.Fields(string(value))
			case named(name, "no-support-for-architecture-all"):
				r.noAll = string(value) == "Packages"
			case named(name, "sha256"), named(name, "sha512"), named(name, "md5sum"), named(name, "sha1"):
				r.addIndexes(value)
			}
		})
	})
	if err == nil && !found {
		err = errors.New("is empty")
	}
	return r, err
}

// addIndexes keeps the lists of packages, and no other files.
func (r *release) addIndexes(lines []byte) {
	if r.indexes == nil {
		r.indexes = map[string]int64{}
	}
	for line := range bytes.Lines(lines) {
		at := bytes.LastIndex(line, []byte("Packages"))
		if at < 1 || line[at-1] != '/' && line[at-1] != ' ' {
			continue
		}
		words := bytes.Fields(line)
		if len(words) != 3 {
			continue
		}
		index, size := string(words[2]), int64(-1)
		if path.Ext(index) == "" {
			if n, err := strconv.ParseInt(string(words[1]), 10, 64); err == nil {
				size = n
			}
		}
		index = strings.TrimSuffix(index, path.Ext(index))
		r.indexes[index] = max(size, r.sizeOf(index))
	}
}

// security says that an archive is for security updates, by the names that Debian,
// Ubuntu, its paid support and those derived from them give theirs.
func (r *release) security() bool {
	if r == nil {
		return false
	}
	switch {
	case r.label == "Debian-Security", r.origin == "Freexian":
		return true
	case strings.HasSuffix(r.suite, "-security"), strings.HasSuffix(r.codename, "-security"):
		return true
	}
	return strings.HasPrefix(r.origin, "UbuntuESM") && !strings.HasSuffix(r.suite, "-updates")
}

// name is what a person may be told: "Debian-Security 12 (bookworm-security)".
func (r *release) name() string {
	if r == nil {
		return ""
	}
	name := r.label
	if name == "" {
		name = r.origin
	}
	// Without a codename in it, a suite like "stable" means another release each year.
	suite := r.codename
	if suite == "" || strings.HasPrefix(r.suite, suite) {
		suite = r.suite
	}
	if r.version != "" {
		name += " " + r.version
	}
	if suite != "" {
		name += " (" + suite + ")"
	}
	return strings.TrimSpace(name)
}

// parseDate reads a date as the field of a Release file has it; zero if it is none.
func parseDate(b []byte) time.Time {
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST", "Mon, _2 Jan 2006 15:04:05 -0700"} {
		if t, err := time.Parse(layout, string(b)); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// yes is a truth as apt writes it, or what it is when it is not said.
func yes(s string, unsaid bool) bool {
	switch strings.ToLower(s) {
	case "yes", "true", "with", "on", "enable", "1":
		return true
	case "no", "false", "without", "off", "disable", "0":
		return false
	}
	return unsaid
}
