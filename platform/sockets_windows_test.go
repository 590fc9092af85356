package platform

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOwnListenerIsSeen opens ports of both versions of IP and finds them, with
// this very process as their owner.
func TestOwnListenerIsSeen(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "127.0.0.1:0", "[::]:0", "[::1]:0"} {
		network := "tcp4"
		if strings.HasPrefix(address, "[") {
			network = "tcp6"
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		at := netip.MustParseAddrPort(l.Addr().String())
		s, err := newObserver(Options{}, nil).Snapshot(t.Context(), Parts{PartListeners, PartOwners})
		if err != nil || s.Missing(PartListeners) != nil || s.Missing(PartOwners) != nil {
			t.Fatalf("%v, gaps %+v", err, s.Gaps)
		}
		i := slices.IndexFunc(s.Listeners, func(l Listener) bool { return l.Port == at.Port() && l.Protocol == TCP })
		if i < 0 {
			t.Errorf("%s is not seen", at)
			continue
		}
		got := s.Listeners[i]
		exe, _ := os.Executable()
		if got.Address != at.Addr() || got.Owner.PID != os.Getpid() || !strings.EqualFold(got.Owner.Exe, exe) ||
			got.Owner.Process != filepath.Base(got.Owner.Exe) || got.Owner.User == "" || got.Owner.Start != s.Agent.Start || s.Agent.Start == 0 {
			t.Errorf("%s: got %+v; want this process, %s", at, got, exe)
		}
		wantReach := ReachLoopback
		if at.Addr().IsUnspecified() && isNetworked() {
			wantReach = ReachAny
		}
		if got.Reach != wantReach {
			t.Errorf("%s: reach %s, want %s", at, got.Reach, wantReach)
		}
	}
}

func TestReleaseOfThisWindows(t *testing.T) {
	got, err := readOS("")
	if err != nil || got.ID != "windows" || !strings.HasPrefix(got.Version, "10.0.") || got.Arch == "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestServicesByPID(t *testing.T) {
	all, err := servicesByPID()
	if err != nil {
		t.Fatal(err)
	}
	for pid, names := range all {
		if pid < 0 || len(names) == 0 || names[0] == "" {
			t.Errorf("process %d: %q", pid, names)
		}
	}
}
