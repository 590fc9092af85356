package platform

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-sec/firebreak/platform/apt"
	"github.com/firebreak-sec/firebreak/platform/rpm"
)

func TestUpdatesAreToldAlike(t *testing.T) {
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	got := updatesOfApt(apt.State{
		Installed: 2, ListsAsOf: day, Problems: []string{"list x cannot be read"},
		Pending:     []apt.Update{{Name: "openssh-client", Arch: "amd64", Source: "openssh", Installed: "1", Candidate: "3", Archive: "Debian 12", Security: true, Fixed: "2", Why: apt.Pinned}},
		Unsupported: []apt.Unsupported{{Name: "old", Version: "1", Limited: true, Ended: day, Note: "not mended"}},
	})
	want := Updates{
		Manager: "apt", Installed: 2, ListsAsOf: day, Unknown: []string{"list x cannot be read"},
		Pending:     []Update{{Name: "openssh-client", Arch: "amd64", Source: "openssh", Installed: "1", Candidate: "3", Archive: "Debian 12", Security: true, Fixed: "2", Why: Pinned}},
		Unsupported: []UnsupportedPackage{{Name: "old", Version: "1", Limited: true, Ended: day, Note: "not mended"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("apt (-want +got):\n%s", diff)
	}
	got = updatesOfDNF(rpm.State{
		Installed: 1, ListsAsOf: day,
		Pending: []rpm.Update{{
			Name: "bash", Arch: "x86_64", Source: "bash", Installed: "1", Candidate: "2", Archive: "updates", Security: true, Fixed: "2",
			Advisory: []string{"FEDORA-2026-1"}, Severity: "high", Issued: day, Why: rpm.Held,
		}},
	})
	want = Updates{
		Manager: "dnf", Installed: 1, ListsAsOf: day,
		Pending: []Update{{
			Name: "bash", Arch: "x86_64", Source: "bash", Installed: "1", Candidate: "2", Archive: "updates", Security: true, Fixed: "2",
			Advisory: []string{"FEDORA-2026-1"}, Severity: "high", Since: day, Why: Held,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dnf (-want +got):\n%s", diff)
	}
}

func TestUpdatesOfAnotherFileSystem(t *testing.T) {
	root := t.TempDir()
	if _, err := newUpdatesReader(root).read(t.Context()); !errors.Is(err, errNoPackages) {
		t.Errorf("of an empty file system: got %v; want %v", err, errNoPackages)
	}
	status := filepath.Join(root, "var/lib/dpkg/status")
	if err := os.MkdirAll(filepath.Dir(status), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(status, []byte("Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := newObserver(Options{Root: root}, nil)
	s, err := o.Snapshot(t.Context(), Parts{PartUpdates, PartRunning})
	if err != nil {
		t.Fatal(err)
	}
	if u := s.Updates; u.Manager != "apt" || u.Installed != 1 || !u.ListsAsOf.IsZero() || s.Missing(PartUpdates) != nil {
		t.Errorf("got %+v, gaps %v; want one package, and no lists", u, s.Gaps)
	}
	if s.Missing(PartRunning) == nil {
		t.Error("another file system runs nothing: that is not known, and no gap says so")
	}
}

// TestRunningCodeOfThisHost looks at what runs here twice: what is found is of the
// host, so only its form is judged.
func TestRunningCodeOfThisHost(t *testing.T) {
	o := newObserver(Options{}, nil)
	for range 2 {
		s, err := o.Snapshot(t.Context(), Parts{PartRunning})
		if err != nil {
			t.Fatal(err)
		}
		if s.Missing(PartRunning) == nil && s.Running.Kernel == "" {
			t.Errorf("got %+v; want the release of the kernel", s.Running)
		}
	}
}
