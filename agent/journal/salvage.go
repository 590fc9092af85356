package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// skipped is how many numbers are left out after damage, so that a number that
// may have been given out, and lost, is not given out again.
const skipped = 1000

// survey is what a look at a whole journal file found.
type survey struct {
	stock
	schema byte  // of what wrote it
	newer  bool  // a newer agent wrote it
	loose  bool  // most of the file is unused
	fault  error // nil: sound
	lines  int   // of the history
	bytes  int   // of these lines
	pages  *pages
}

// inspect reads a journal file from end to end and proves every page and every
// record. It changes nothing. With keep it returns the records too.
func inspect(f io.ReaderAt, size int64, keep bool) survey {
	var s survey
	if size > largestFile {
		s.fault = fmt.Errorf("%d bytes are more than a journal has", size)
		return s
	}
	p, err := openPages(f, size)
	if err != nil {
		s.fault = err
		return s
	}
	s.pages = p
	sequence := func(bucket string, n uint64) {
		switch kindOf(bucket) {
		case kindAgent:
			s.number = n
		case kindHistory:
			s.sequence = n
		}
	}
	s.fault = p.walk(sequence, func(i item) {
		r, ok := decode(i.value)
		if ok && r.schema > schema {
			s.newer = true
			return
		}
		if !ok || r.size() != len(i.value) || r.kind != kindOf(i.bucket) || !bytes.Equal(r.key, i.key) || !r.readable() {
			p.fault(true, fmt.Errorf("a record of %s is damaged", i.bucket))
			return
		}
		switch {
		case r.mark():
			s.schema = r.schema
		case keep:
			s.records = append(s.records, r.clone())
		}
		if r.kind == kindHistory {
			s.lines++
			s.bytes += r.size()
		}
	})
	if s.fault == nil && !s.newer && s.schema == 0 {
		s.fault = errors.New("it says no schema")
	}
	s.loose = p.end*uint64(p.page) > looseFile && p.used() < p.end/4
	return s
}

// salvage takes what can be read of a damaged file, record by record, by the
// checksum that each carries. Of several records with one key the newest counts.
//
// Pages that are free still hold old records. Where every reference to a page
// could be followed, only the pages in use count: what is on others was replaced
// or deleted. Otherwise all count, and something deleted may come back.
func salvage(f io.ReaderAt, size int64, p *pages) (found stock, newer bool) {
	all := readAll(f, size)
	newest := map[string]record{}
	for at := 0; ; {
		next := bytes.Index(all[at:], []byte(magic))
		if next < 0 {
			break
		}
		at += next
		r, ok := decode(all[at:])
		if !ok {
			at++
			continue
		}
		newer = newer || r.schema > schema
		inUse := p == nil || !p.whole || p.live.has(uint64(at)/uint64(p.page))
		if inUse && r.schema <= schema && !r.mark() && r.readable() {
			key := string(r.kind) + string(r.key)
			if old, ok := newest[key]; !ok || old.number < r.number {
				newest[key] = r
			}
		}
		at += r.size()
	}
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		r := newest[key].clone()
		found.records = append(found.records, r)
		found.number = max(found.number, r.number)
		found.sequence = max(found.sequence, lastSequence(r))
	}
	found.sequence += skipped
	return found, newer
}

// lastSequence is the highest sequence number that a record speaks of.
func lastSequence(r record) uint64 {
	if r.kind != kindThreat {
		return sequenceOf(r.key)
	}
	var t threat.Threat
	var last uint64
	if json.Unmarshal(r.body, &t) == nil {
		for _, a := range t.Actions {
			last = max(last, a.Seq)
		}
	}
	return last
}

// readAll returns the file, with zeros where it cannot be read.
func readAll(f io.ReaderAt, size int64) []byte {
	const block = 64 << 10
	all := make([]byte, min(size, largestFile))
	for at := 0; at < len(all); at += block {
		part := all[at:min(at+block, len(all))]
		if n, err := f.ReadAt(part, int64(at)); err != nil {
			clear(part[n:])
		}
	}
	return all
}

// setAside gives the damaged file a second name, which nothing is ever written
// to, and then puts a journal of what was salvaged in its place. It returns that
// name. A crash in between leaves the damaged journal where it was, so that the
// next start does all this again.
func setAside(path string, s stock, now time.Time) (aside string, err error) {
	for n := 1; ; n++ {
		name := "journal-damaged-" + now.UTC().Format("20060102T150405")
		if n > 1 {
			name += fmt.Sprintf("-%d", n)
		}
		aside = filepath.Join(filepath.Dir(path), name+".db")
		err = os.Link(path, aside)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("set damaged journal aside: %w", err)
		}
	}
	if err := platform.SyncDir(filepath.Dir(path)); err != nil {
		return "", fmt.Errorf("set damaged journal aside: %w", err)
	}
	if err := replace(path, s); err != nil {
		os.Remove(aside)
		return "", fmt.Errorf("replace damaged journal: %w", err)
	}
	return aside, nil
}
