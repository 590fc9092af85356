package configs_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
)

// A change is known well within a second; a busy machine, on which everything
// takes longer, is given more, so that what fails is the watch.
const (
	promised = 500 * time.Millisecond
	patient  = 10 * time.Second
)

// Each change is made in a real folder, after start has prepared it, and must
// give one signal.
func TestWatch(t *testing.T) {
	for _, test := range []struct {
		name   string
		start  func(f folder)
		change func(f folder)
	}{
		{
			"a file is written in place",
			func(f folder) { f.write("policy.yaml", "1") },
			func(f folder) { f.write("policy.yaml", "2") },
		},
		{
			"a file appears",
			func(f folder) { f.write("other", "1") },
			func(f folder) { f.write("policy.yaml", "1") },
		},
		{
			"a file is renamed into place",
			func(f folder) { f.write("policy.yaml", "1") },
			func(f folder) { f.write("new", "2"); f.rename("new", "policy.yaml") },
		},
		{
			"a file is deleted",
			func(f folder) { f.write("policy.yaml", "1") },
			func(f folder) { f.remove("policy.yaml") },
		},
		{
			"a file is deleted and made again",
			func(f folder) { f.write("policy.yaml", "1") },
			func(f folder) { f.remove("policy.yaml"); f.write("policy.yaml", "2") },
		},
		{
			"a mounted configuration map is swapped",
			func(f folder) {
				f.write("..1/policy.yaml", "1")
				f.link("..1", "..data")
				f.link("..data/policy.yaml", "policy.yaml")
			},
			func(f folder) {
				f.write("..2/policy.yaml", "2")
				f.link("..2", "..new")
				f.rename("..new", "..data")
				f.remove("..1")
			},
		},
		{
			"what a link leads to, in another folder, is written",
			func(f folder) { f.write("../elsewhere/p", "1"); f.link("../elsewhere/p", "policy.yaml") },
			func(f folder) { f.write("../elsewhere/p", "2") },
		},
		{
			"what a link leads to is replaced",
			func(f folder) { f.write("../elsewhere/p", "1"); f.link("../elsewhere/p", "policy.yaml") },
			func(f folder) { f.write("../elsewhere/new", "2"); f.rename("../elsewhere/new", "../elsewhere/p") },
		},
		{
			"the folder is a link that is swapped",
			func(f folder) {
				f.write("../a/policy.yaml", "1")
				f.write("../b/policy.yaml", "2")
				f.link("a", "../linked")
			},
			func(f folder) { f.link("b", "../new"); f.rename("../new", "../linked") },
		},
		{
			"the folder is moved away and made again",
			func(f folder) { f.write("policy.yaml", "1") },
			func(f folder) { f.rename(".", "../old"); f.write("policy.yaml", "2") },
		},
		{
			"the folder and the one above are missing at first",
			func(f folder) { f.remove("..") },
			func(f folder) { f.write("policy.yaml", "1") },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := folder{t, filepath.Join(t.TempDir(), "above", "etc")}
			if err := os.MkdirAll(f.path, 0o755); err != nil {
				t.Fatal(err)
			}
			test.start(f)
			dir := f.path
			if linked := filepath.Join(f.path, "../linked"); exists(linked) {
				dir = linked
			}
			changes, err := configs.Watch(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			test.change(f)
			expect(t, changes, true)
			expect(t, changes, false)
		})
	}
}

// What does not change the policy is not worth a look, and many writes in a row
// are one change.
func TestWatchKeepsQuiet(t *testing.T) {
	f := folder{t, t.TempDir()}
	f.write("policy.yaml", "1")
	changes, err := configs.Watch(t.Context(), f.path)
	if err != nil {
		t.Fatal(err)
	}
	f.write("other.yaml", "2")
	f.write("policy.yaml", "1")
	expect(t, changes, false)
	for range 50 {
		f.write("policy.yaml", time.Now().String())
	}
	expect(t, changes, true)
	expect(t, changes, false)
}

// A folder in which something happens all the time hides no change.
func TestWatchInABusyFolder(t *testing.T) {
	f := folder{t, t.TempDir()}
	f.write("policy.yaml", "1")
	changes, err := configs.Watch(t.Context(), f.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		for ctx.Err() == nil {
			_ = os.WriteFile(filepath.Join(f.path, "log"), []byte(time.Now().String()), 0o644)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	f.write("policy.yaml", "2")
	expect(t, changes, true)
	stop()
	<-busy
}

// One change after another, each is seen.
func TestWatchGoesOn(t *testing.T) {
	f := folder{t, filepath.Join(t.TempDir(), "etc")}
	changes, err := configs.Watch(t.Context(), f.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(){
		func() { f.write("policy.yaml", "1") },
		func() { f.write("policy.yaml", "2") },
		func() { f.remove(".") },
		func() { f.write("policy.yaml", "3") },
		func() { f.write("new", "4"); f.rename("new", "policy.yaml") },
	} {
		step()
		expect(t, changes, true)
	}
}

// One of five changes at the least is known as soon as is promised.
func TestWatchIsQuick(t *testing.T) {
	f := folder{t, t.TempDir()}
	changes, err := configs.Watch(t.Context(), f.path)
	if err != nil {
		t.Fatal(err)
	}
	var took time.Duration
	for i := range 5 {
		begin := time.Now()
		f.write("policy.yaml", strconv.Itoa(i))
		expect(t, changes, true)
		if took = time.Since(begin); took < promised {
			return
		}
	}
	t.Errorf("known after %s; want %s", took, promised)
}

func TestWatchEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	changes, err := configs.Watch(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	select {
	case _, open := <-changes:
		if open {
			t.Error("got a signal; want the channel closed")
		}
	case <-time.After(5 * time.Second):
		t.Error("the channel is not closed")
	}
}

// What is not a regular file is not opened: a pipe would never end.
func TestReadPolicyFile(t *testing.T) {
	f := folder{t, t.TempDir()}
	if _, err := configs.ReadPolicyFile(f.path); err == nil {
		t.Error("a folder was read")
	}
	f.write("policy.yaml", "version: firebreak/v1")
	data, err := configs.ReadPolicyFile(filepath.Join(f.path, "policy.yaml"))
	if err != nil || string(data) != "version: firebreak/v1" {
		t.Errorf("got %q, %v", data, err)
	}
}

func expect(t *testing.T, changes <-chan struct{}, want bool) {
	t.Helper()
	wait := patient
	if !want {
		wait = 600 * time.Millisecond
	}
	select {
	case <-changes:
		if !want {
			t.Error("got a signal for no change")
		}
	case <-time.After(wait):
		if want {
			t.Errorf("no signal after %s", wait)
		}
	}
}

// folder changes files in a real folder; a change that cannot be made ends the
// test.
type folder struct {
	t    *testing.T
	path string
}

func (f folder) in(name string) string { return filepath.Join(f.path, name) }

func (f folder) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) write(name, text string) {
	f.t.Helper()
	f.must(os.MkdirAll(filepath.Dir(f.in(name)), 0o755))
	f.must(os.WriteFile(f.in(name), []byte(text), 0o644))
}

func (f folder) rename(from, to string) {
	f.t.Helper()
	f.must(os.Rename(f.in(from), f.in(to)))
}

func (f folder) remove(name string) {
	f.t.Helper()
	f.must(os.RemoveAll(f.in(name)))
}

func (f folder) link(target, name string) {
	f.t.Helper()
	f.must(os.Symlink(target, f.in(name)))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
