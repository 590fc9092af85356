package platform

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// processFacts is what is told of the holder of a listener.
type processFacts struct {
	ProcessID
	ppid int
	name string // comm
	uid  uint32 // effective
	// link is /proc/PID/exe as it stands, "" if it may not be read. A process
	// that runs another program than before has another one.
	link  string
	place place
	// original says that link leads to the very file that has that path here: a
	// process may have a root or mounts of its own, and only looks like sshd.
	original bool
}

// exe splits the link into the path, and whether its file is no longer there.
func (f processFacts) exe() (path string, deleted bool) {
	return strings.CutSuffix(f.link, " (deleted)")
}

// processBook remembers facts of processes for as long as they stay the same.
type processBook struct {
	known map[int]*processFacts
	used  map[int]bool // they were read since the last forget
}

func newProcessBook() *processBook {
	return &processBook{known: map[int]*processFacts{}, used: map[int]bool{}}
}

// facts returns what is known of a process, or ErrGone. What a process can
// change without becoming another one is read once between two forgets: its name,
// its user, and the program it runs; what goes with the program is read when that
// changes.
func (b *processBook) facts(pid int) (*processFacts, error) {
	if b.used[pid] {
		return b.known[pid], nil
	}
	dir := "/proc/" + strconv.Itoa(pid)
	data, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return nil, fmt.Errorf("look at process %d: %w", pid, ErrGone)
	}
	stat, ok := parseStat(data)
	if !ok {
		return nil, fmt.Errorf("look at process %d: its status cannot be understood", pid)
	}
	// The directory belongs to the effective user of the process, always: unlike
	// the files in it, which belong to root if the process hides from debuggers.
	var owner syscall.Stat_t
	if err := syscall.Stat(dir, &owner); err != nil {
		return nil, fmt.Errorf("look at process %d: %w", pid, ErrGone)
	}
	link, err := os.Readlink(dir + "/exe")
	if err != nil {
		link = ""
	}
	f := b.known[pid]
	if f == nil || f.Start != stat.start || f.link != link {
		f = &processFacts{ProcessID: ProcessID{PID: pid, Start: stat.start}, link: link}
		if cgroup, err := os.ReadFile(dir + "/cgroup"); err == nil {
			f.place = placeIn(string(cgroup))
		}
		f.original = sameFile(dir+"/exe", link)
		b.known[pid] = f
	}
	b.used[pid] = true
	f.name, f.ppid, f.uid = printable(stat.name), stat.ppid, owner.Uid
	return f, nil
}

// forget drops the processes that nobody asked for since the last forget.
func (b *processBook) forget() {
	for pid := range b.known {
		if !b.used[pid] {
			delete(b.known, pid)
		}
	}
	clear(b.used)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// processStat is what is used of /proc/PID/stat.
type processStat struct {
	name  string
	ppid  int
	start uint64 // clock ticks since boot
}

// parseStat reads /proc/PID/stat. The name stands in parentheses and may have
// any character in it, parentheses and line ends too: the last ")" ends it.
func parseStat(data []byte) (processStat, bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return processStat{}, false
	}
	fields := bytes.Fields(data[end+1:]) // from the third on
	const ppid, start = 4 - 3, 22 - 3
	if len(fields) <= start {
		return processStat{}, false
	}
	parent, err1 := strconv.Atoi(string(fields[ppid]))
	ticks, err2 := strconv.ParseUint(string(fields[start]), 10, 64)
	return processStat{string(data[open+1 : end]), parent, ticks}, err1 == nil && err2 == nil
}
