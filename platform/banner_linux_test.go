package platform

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bannerIn returns a banner in a new file system, with an /etc/issue or not.
func bannerIn(t *testing.T, issue bool) banner {
	t.Helper()
	b := banner{root: t.TempDir()}
	for _, dir := range []string{"/run", "/etc"} {
		if err := os.Mkdir(b.at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if issue {
		if err := os.WriteFile(b.at(etcIssue), []byte("Debian\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// files lists what is in the file system, without folders.
func (b banner) files(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(b.root, func(path string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			all = append(all, strings.TrimPrefix(path, b.root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBanner(t *testing.T) {
	for _, c := range []struct {
		issue bool
		want  []string
	}{
		{true, []string{etcIssue, linkPath, linkedPath, motdPath}},
		{false, []string{issuePath, motdPath}},
	} {
		b := bannerIn(t, c.issue)
		before := b.files(t)
		n := notifier{banner: b}
		for _, text := range []string{"first", "Isolated.\nCall 4357 or CORP\\help.\x1b]0;owned\a\n"} {
			if err := n.Banner(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.files(t); !slices.Equal(got, c.want) {
			t.Errorf("issue %v: got %q; want %q", c.issue, got, c.want)
		}
		motd, _ := os.ReadFile(b.at(motdPath))
		if want := "\nIsolated.\nCall 4357 or CORP\\help. ]0;owned \n\n"; string(motd) != want {
			t.Errorf("motd: got %q; want %q", motd, want)
		}
		for _, path := range []string{linkPath, issuePath} {
			if issue, err := os.ReadFile(b.at(path)); err == nil && !strings.Contains(string(issue), `CORP\\help`) {
				t.Errorf("%s: got %q; want the backslash twice", path, issue)
			}
		}
		if info, err := os.Stat(b.at(motdPath)); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("got %v, %v; want a file that all can read", info.Mode(), err)
		}
		for range 2 {
			if err := n.Banner(t.Context(), ""); err != nil {
				t.Error(err)
			}
		}
		if got := b.files(t); !slices.Equal(got, before) {
			t.Errorf("issue %v: left behind %q; want %q", c.issue, got, before)
		}
	}
}

func TestBannerWhereEtcCannotBeWritten(t *testing.T) {
	b := bannerIn(t, true)
	if err := os.WriteFile(b.at("/etc/issue.d"), nil, 0o644); err != nil { // no folder can be there
		t.Fatal(err)
	}
	if err := b.put("Isolated."); err != nil {
		t.Fatal(err)
	}
	if got := b.files(t); !slices.Contains(got, issuePath) || slices.Contains(got, linkedPath) {
		t.Errorf("got %q; want %s", got, issuePath)
	}
}

func TestBannerWakesLoginScreens(t *testing.T) {
	b := bannerIn(t, false)
	if err := b.put("Isolated."); err != nil || slices.Contains(b.files(t), reloadPath) {
		t.Errorf("got %v, %q; want no file where there is no agetty", err, b.files(t))
	}
	long := time.Now().Add(-time.Hour)
	if err := os.WriteFile(b.at(reloadPath), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{func() error { return b.put("Isolated.") }, b.take} {
		if err := os.Chtimes(b.at(reloadPath), long, long); err != nil {
			t.Fatal(err)
		}
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(b.at(reloadPath)); err != nil || time.Since(info.ModTime()) > time.Minute {
			t.Errorf("the file was not touched: %v", err)
		}
	}
}

// TestAgettyShowsTheBanner lets the real program read it, in a mount namespace in
// which the banner's folders are in the places of the host's.
func TestAgettyShowsTheBanner(t *testing.T) {
	needTools(t, "agetty", "unshare", "mount")
	if os.Getuid() != 0 {
		t.Skip("needs root to make a mount namespace")
	}
	for _, issue := range []bool{true, false} {
		b := bannerIn(t, issue)
		if err := b.put("Isolated by CORP\\nobody."); err != nil {
			t.Fatal(err)
		}
		// agetty asks the terminal how wide it is.
		master, line := openPTY(t)
		slave, err := os.OpenFile(filepath.Join("/dev", line), os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "-m", "sh", "-ec", `cd "$1"
			mkdir -p upper work; mount -t tmpfs none upper; mkdir upper/u upper/w
			mount -t overlay none -o lowerdir="$1/etc:/etc",upperdir=upper/u,workdir=upper/w /etc
			[ -e "$1/etc/issue" ] || rm -f /etc/issue
			mount --bind "$1/run" /run
			agetty --show-issue >out`, "sh", b.root)
		cmd.Stdin, cmd.Stderr = slave, slave
		runErr := cmd.Run()
		slave.Close()
		if runErr != nil {
			said := make([]byte, 1000)
			n, _ := master.Read(said)
			t.Skipf("agetty cannot be run here: %v: %s", runErr, said[:n])
		}
		got, err := os.ReadFile(filepath.Join(b.root, "out"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(got), `Isolated by CORP\nobody.`); n != 1 {
			t.Errorf("with /etc/issue %v: the text is shown %d times; want once:\n%s", issue, n, got)
		}
	}
}
