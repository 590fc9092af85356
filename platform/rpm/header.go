package rpm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// installed is one package that the database names.
type installed struct {
	name, arch string
	evr        evr
	source     string // the name of the source package
	vendor     string
	module     string // "name:stream", "" if it is of no module
	releasever string // what it says $releasever is, "" if it does not
}

// The tags of a header that matter here, and the types of their values.
const (
	tagName, tagVersion, tagRelease, tagEpoch = 1000, 1001, 1002, 1003
	tagVendor, tagArch, tagSource             = 1011, 1022, 1044
	tagProvides, tagProvideFlags              = 1047, 1112
	tagProvideVersions, tagModule             = 1113, 5096

	typeInt32, typeString, typeStrings, typeText = 4, 6, 8, 9
)

// The bounds of a header. Those of rpm itself are 65,535 entries and 256 MB; no
// package comes near, and a broken database must not cost that much.
const (
	maxEntries = 1 << 16
	maxHeader  = 64 << 20
)

// prefix is a header of which the first bytes can be had without the rest: most of
// one is lists of files, which nobody here asks for.
type prefix interface {
	// first returns at least the first n bytes; fewer are an error.
	first(n int) ([]byte, error)
}

// entry is where a header keeps a value.
type entry struct{ kind, offset, count uint32 }

// header is the index of a header.
type header struct {
	of      prefix
	store   int // where the values begin
	end     int
	entries map[uint32]entry
}

// parsePackage reads the package of a header.
func parsePackage(of prefix) (installed, error) {
	h, err := parseHeader(of)
	if err != nil {
		return installed{}, err
	}
	var p installed
	for _, want := range []struct {
		tag uint32
		to  *string
	}{
		{tagName, &p.name},
		{tagVersion, &p.evr.version},
		{tagRelease, &p.evr.release},
		{tagArch, &p.arch},
		{tagSource, &p.source},
		{tagVendor, &p.vendor},
		{tagModule, &p.module},
	} {
		if *want.to, err = h.text(want.tag); err != nil {
			return installed{}, err
		}
	}
	if p.name == "" || p.evr.version == "" {
		return installed{}, fmt.Errorf("header without a name or a version")
	}
	epoch, err := h.numbers(tagEpoch)
	if err != nil {
		return installed{}, err
	}
	if len(epoch) > 0 {
		p.evr.epoch = int64(epoch[0])
	}
	p.source = sourceName(p.source)
	p.module = nameAndStream(p.module)
	if strings.Contains(p.name, "release") {
		p.releasever, err = h.releasever(p.evr.version)
	}
	return p, err
}

// parseHeader reads the index of a header: what it holds, and where.
func parseHeader(of prefix) (header, error) {
	b, err := of.first(8)
	if err != nil {
		return header{}, fmt.Errorf("header: %w", err)
	}
	count, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if count == 0 || count > maxEntries || size > maxHeader {
		return header{}, fmt.Errorf("header of %d entries and %d bytes", count, size)
	}
	h := header{of: of, store: 8 + 16*int(count), entries: map[uint32]entry{}}
	h.end = h.store + int(size)
	if b, err = of.first(h.store); err != nil {
		return header{}, fmt.Errorf("header: %w", err)
	}
	for at := 8; at < h.store; at += 16 {
		tag := binary.BigEndian.Uint32(b[at:])
		switch tag {
		case tagName, tagVersion, tagRelease, tagEpoch, tagVendor, tagArch, tagSource,
			tagProvides, tagProvideFlags, tagProvideVersions, tagModule:
		default:
			continue
		}
		if _, ok := h.entries[tag]; !ok {
			h.entries[tag] = entry{
				kind:   binary.BigEndian.Uint32(b[at+4:]),
				offset: binary.BigEndian.Uint32(b[at+8:]),
				count:  binary.BigEndian.Uint32(b[at+12:]),
			}
		}
	}
	return h, nil
}

// text is the value of a tag that is one string, "" if the header has none.
func (h header) text(tag uint32) (string, error) {
	all, err := h.texts(tag, 1)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// texts are the first strings of a tag.
func (h header) texts(tag uint32, most int) ([]string, error) {
	e, ok := h.entries[tag]
	if !ok {
		return nil, nil
	}
	if e.kind != typeString && e.kind != typeStrings && e.kind != typeText {
		return nil, fmt.Errorf("header: tag %d is of type %d", tag, e.kind)
	}
	from := h.store + int(e.offset)
	if int64(e.offset) > maxHeader || from >= h.end {
		return nil, fmt.Errorf("header: tag %d lies outside", tag)
	}
	var all []string
	for len(all) < min(most, int(e.count)) {
		s, err := h.cString(from)
		if err != nil {
			return nil, fmt.Errorf("header: tag %d: %w", tag, err)
		}
		all = append(all, s)
		from += len(s) + 1
	}
	return all, nil
}

// cString is the string that begins at an offset and ends at a zero.
func (h header) cString(from int) (string, error) {
	for n := from + 128; ; n *= 2 {
		n = min(n, h.end)
		b, err := h.of.first(n)
		if err != nil {
			return "", err
		}
		if i := bytes.IndexByte(b[from:n], 0); i >= 0 {
			return string(b[from : from+i]), nil
		}
		if n == h.end {
			return "", fmt.Errorf("string without an end")
		}
	}
}

// numbers are the values of a tag that is numbers.
func (h header) numbers(tag uint32) ([]uint32, error) {
	e, ok := h.entries[tag]
	if !ok {
		return nil, nil
	}
	from, size := h.store+int(e.offset), 4*int64(e.count)
	if e.kind != typeInt32 || int64(e.offset) > maxHeader || int64(from)+size > int64(h.end) {
		return nil, fmt.Errorf("header: tag %d is not %d numbers", tag, e.count)
	}
	b, err := h.of.first(from + int(size))
	if err != nil {
		return nil, fmt.Errorf("header: tag %d: %w", tag, err)
	}
	all := make([]uint32, e.count)
	for i := range all {
		all[i] = binary.BigEndian.Uint32(b[from+4*i:])
	}
	return all, nil
}

// releasever is the release that a package stands for: the version with which it
// provides "system-release(releasever)", or its own if it provides
// "system-release"; "" if it does neither.
func (h header) releasever(own string) (string, error) {
	names, err := h.texts(tagProvides, 1000)
	if err != nil {
		return "", err
	}
	versions, err := h.texts(tagProvideVersions, 1000)
	if err != nil {
		return "", err
	}
	found := ""
	for i, name := range names {
		switch name {
		case "system-release(releasever)":
			if i < len(versions) && versions[i] != "" {
				return versions[i], nil
			}
		case "system-release", "redhat-release":
			found = own
		}
	}
	return found, nil
}

// sourceName is the name in "bash-5.1.8-6.el9.src.rpm".
func sourceName(s string) string {
	for range 2 {
		i := strings.LastIndexByte(s, '-')
		if i < 0 {
			return s
		}
		s = s[:i]
	}
	return s
}

// nameAndStream is what tells one stream of a module from another, of
// "nodejs:18:8090020240101:rhel9".
func nameAndStream(label string) string {
	parts := strings.SplitN(label, ":", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + ":" + parts[1]
}
