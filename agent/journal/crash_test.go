package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// writerEnv makes the test binary the child that the crash tests kill. It holds
// the path of the journal.
const writerEnv = "FIREBREAK_TEST_JOURNAL"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		if err := write(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// write writes as an agent would, and says the number of each intent as soon as
// it is acknowledged, until it is killed.
func write(path string) error {
	j, err := Open(path, Limits{HistoryEntries: 200, ResolvedAge: time.Hour})
	if err != nil {
		return err
	}
	if aside := j.Aside(); aside != "" {
		return fmt.Errorf("a crash damaged the journal: %s", aside)
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("T-%04d", i%50)
		seq, err := j.Begin(Intent{At: noon, Threat: id, Inverse: []byte(`{}`), Steps: []string{strings.Repeat("s", i%3000)}})
		if err != nil {
			return err
		}
		fmt.Println(seq)
		b := Batch{
			Threats: []threat.Threat{{ID: id, Summary: strings.Repeat("x", i%5000)}},
			Entries: make([]Entry, i%20),
			State:   &State{Boot: strconv.Itoa(i)},
		}
		if err := errors.Join(j.Record(b), j.Prune(noon)); err != nil {
			return err
		}
	}
}

// startWriter starts the child. It returns the numbers that were acknowledged,
// as they come, and ends when the child does.
func startWriter(t *testing.T, path string) (*os.Process, <-chan uint64) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	child, err := os.StartProcess(must(os.Executable())(t), []string{"journal-writer"}, &os.ProcAttr{
		Env:   append(os.Environ(), writerEnv+"="+path),
		Files: []*os.File{nil, w, os.Stderr},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan uint64, 1<<16)
	go func() {
		defer close(said)
		defer r.Close()
		for in := bufio.NewScanner(r); in.Scan(); {
			if seq, err := strconv.ParseUint(in.Text(), 10, 64); err == nil {
				said <- seq
			}
		}
	}()
	return child, said
}

// crash lets the child write for a moment after its first intent, kills it, and
// returns all that it had been promised. then runs right after its death.
func crash(t *testing.T, path string, moment time.Duration, then func()) (promised []uint64) {
	t.Helper()
	child, said := startWriter(t, path)
	first, ok := <-said
	if ok {
		promised = append(promised, first)
		time.Sleep(moment)
	}
	if err := child.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	state, err := child.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if then != nil {
		then()
	}
	if state.Exited() {
		t.Fatalf("the writer ended by itself: %v", state)
	}
	for seq := range said {
		promised = append(promised, seq)
	}
	return promised
}

// holds fails the test unless every promised intent is in the journal.
func holds(t *testing.T, path string, promised []uint64) {
	t.Helper()
	j := open(t, path, Limits{})
	defer j.Close()
	if j.Aside() != "" {
		t.Errorf("the journal is damaged: %s", j.Aside())
	}
	var there []uint64
	for _, i := range must(j.Contents())(t).Intents {
		there = append(there, i.Seq)
	}
	for _, seq := range promised {
		if _, ok := slices.BinarySearch(there, seq); !ok {
			t.Errorf("intent %d was acknowledged and is lost", seq)
		}
	}
}

func TestKilledWhileWriting(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	path := filepath.Join(t.TempDir(), "j.db")
	rnd := rand.New(rand.NewPCG(7, 8))
	var promised []uint64
	for range rounds {
		promised = append(promised, crash(t, path, time.Duration(rnd.IntN(60))*time.Millisecond, nil)...)
		holds(t, path, promised)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d intents acknowledged", rounds, len(promised))
	left := must(filepath.Glob(filepath.Join(filepath.Dir(path), newPattern)))(t)
	if len(left) > 0 {
		t.Errorf("got %v; want nothing left behind", left)
	}
}

// run runs a program of the system.
func run(name string, args ...string) error {
	for _, dir := range filepath.SplitList(os.Getenv("PATH") + string(os.PathListSeparator) + "/usr/sbin") {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		out, err := os.CreateTemp("", "run")
		if err != nil {
			return err
		}
		defer os.Remove(out.Name())
		defer out.Close()
		p, err := os.StartProcess(path, append([]string{name}, args...), &os.ProcAttr{Files: []*os.File{nil, out, out}})
		if err != nil {
			return err
		}
		state, err := p.Wait()
		if err != nil || state.Success() {
			return err
		}
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %v: %s", name, state, said)
	}
	return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// mount mounts a file system for the test, or skips it where that cannot be done.
func mount(t *testing.T, args ...string) (dir string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root on Linux")
	}
	dir = t.TempDir()
	if err := run("mount", append(args, dir)...); err != nil {
		t.Skipf("no disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := run("umount", dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestPowerCut copies the disk under the journal in the moment of a kill: what
// the kernel has not written to it by then is not on the copy.
func TestPowerCut(t *testing.T) {
	blank := filepath.Join(t.TempDir(), "blank.img")
	if err := os.WriteFile(blank, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(blank, 24<<20); err != nil {
		t.Fatal(err)
	}
	if err := run("mkfs.ext4", "-q", blank); err != nil {
		t.Skipf("no file system can be made here: %v", err)
	}
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	rnd := rand.New(rand.NewPCG(9, 10))
	for round := range rounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "disk.img")
			copyFile(t, blank, image)
			dir := mount(t, "-o", "loop", image)
			after := image + ".after"
			promised := crash(t, filepath.Join(dir, "j.db"), time.Duration(rnd.IntN(300))*time.Millisecond,
				func() { copyFile(t, image, after) })
			dir = mount(t, "-o", "loop", after)
			holds(t, filepath.Join(dir, "j.db"), promised)
			t.Logf("%d intents acknowledged", len(promised))
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in := must(os.Open(from))(t)
	defer in.Close()
	out := must(os.Create(to))(t)
	defer out.Close()
	must(io.Copy(out, in))(t)
}

// fillDisk takes all the space there is.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f := must(os.Create(path))(t)
	defer f.Close()
	for chunk := make([]byte, 1<<16); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
}

func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		name string
		dir  func(*testing.T) string
	}{
		{"tmpfs", func(t *testing.T) string { return mount(t, "-t", "tmpfs", "-o", "size=1m", "tmpfs") }},
		{"ext4", func(t *testing.T) string {
			image := filepath.Join(t.TempDir(), "disk.img")
			if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := run("mkfs.ext4", "-q", image); err != nil {
				t.Skipf("no file system can be made here: %v", err)
			}
			return mount(t, "-o", "loop", image)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.dir(t)
			path, filler := filepath.Join(dir, "j.db"), filepath.Join(dir, "filler")
			j := open(t, path, Limits{})
			before := begin(t, j, "T-2346")
			fillDisk(t, filler)
			failed := 0
			for range 50 { // the first ones may fit into free pages
				if _, err := j.Begin(Intent{Threat: "T-7892", Steps: []string{strings.Repeat("s", 9000)}}); err != nil {
					failed++
					if !errors.Is(err, ErrCannotWrite) || !strings.Contains(err.Error(), "the disk is full") {
						t.Fatalf("got %v; want that the disk is full", err)
					}
				}
			}
			if failed == 0 {
				t.Fatal("a full disk took everything")
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = open(t, path, Limits{}) // an agent must start with a full disk
			if got := must(j.Contents())(t).Intents[0].Seq; got != before || j.Aside() != "" {
				t.Errorf("got intent %d, aside %q; want %d and a sound journal", got, j.Aside(), before)
			}
			if _, err := Open(filepath.Join(dir, "new", "j.db"), Limits{}); !errors.Is(err, ErrCannotWrite) {
				t.Errorf("a new journal: got %v; want ErrCannotWrite", err)
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			after := begin(t, j, "T-7892")
			j.Close()
			holds(t, path, []uint64{before, after})
		})
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := mount(t, "-t", "tmpfs", "-o", "size=1m", "tmpfs")
	path := filepath.Join(dir, "j.db")
	j := open(t, path, Limits{})
	j.Close()
	if err := run("mount", "-o", "remount,ro", dir); err != nil {
		t.Skipf("no disk can be made read-only here: %v", err)
	}
	_, err := Open(path, Limits{})
	if !errors.Is(err, ErrCannotWrite) || !strings.Contains(err.Error(), "the disk is read-only") {
		t.Errorf("got %v; want that the disk is read-only", err)
	}
	r := must(OpenReadOnly(path))(t)
	r.Close()
}
