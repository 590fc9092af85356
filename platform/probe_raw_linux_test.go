package platform

import (
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func raw(t *testing.T) Answer {
	t.Helper()
	answer, err := newProber().Raw(t.Context())
	if err != nil {
		t.Error(err)
	}
	return answer
}

func TestRawFramesAreStoppedByEgressRules(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		if got := raw(t); got != Answered {
			t.Errorf("without rules: got %q; want %q", got, Answered)
		}
		shell(t, `nft -f - <<'.'
table netdev isolation {
	chain out { type filter hook egress device "eth0" priority 0; policy accept;
		ether type != 0x88b5 accept
		counter drop
	}
}
.`)
		if got := raw(t); got != Silent {
			t.Errorf("with rules: got %q; want %q", got, Silent)
		}
		if got := shell(t, "nft list chain netdev isolation out"); !strings.Contains(got, "packets 2 ") {
			t.Errorf("want 2 frames stopped, one of them past the queue:\n%s", got)
		}
		// A second uplink that nobody thought of.
		shell(t, "ip link add eth1 type veth peer name eth9 netns "+w.outside+"; ip link set eth1 up; ip -n "+w.outside+" link set eth9 up")
		if got := raw(t); got != Answered {
			t.Errorf("with rules on one of two uplinks: got %q; want %q", got, Answered)
		}
		shell(t, "nft delete table netdev isolation; ip link set eth1 down; ip -n "+w.outside+" link set eth0 down")
		if got := raw(t); got != Silent {
			t.Errorf("without an uplink that is up: got %q; want %q", got, Silent)
		}
	})
}

// TestRawFramesLeaveTheHost sees them on the wire, outside.
func TestRawFramesLeaveTheHost(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		got := make(chan []byte, 1)
		ready := make(chan struct{})
		go w.fromOutside(t, func() {
			defer close(got)
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(bigEndian(experimental)))
			close(ready)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(fd)
			timeout := unix.NsecToTimeval(int64(2 * time.Second))
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
				t.Error(err)
			}
			frame := make([]byte, 100)
			if n, _, err := unix.Recvfrom(fd, frame, 0); err == nil {
				got <- frame[:n]
			}
		})
		<-ready
		if answer := raw(t); answer != Answered {
			t.Errorf("got %q; want %q", answer, Answered)
		}
		if frame := <-got; len(frame) != 60 || !strings.Contains(string(frame), "firebreak probe") || string(frame[:6]) != string(frame[6:12]) {
			t.Errorf("outside got %q; want the frame", frame)
		}
	})
}

func TestRawWithoutUplinks(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		if got := raw(t); got != Silent {
			t.Errorf("got %q; want %q", got, Silent)
		}
	})
}

func TestRawNeedsRoot(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		runtime.LockOSThread() // thrown away: its capabilities are gone
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			t.Error(errno)
			return
		}
		if _, err := newProber().Raw(t.Context()); !errors.Is(err, ErrNotPermitted) {
			t.Errorf("got %v; want ErrNotPermitted", err)
		}
	})
}

// TestRawGoesPastTheQueue looks at the socket: this kernel's hook may see what
// passes by the queue, others' does not.
func TestRawGoesPastTheQueue(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		for _, want := range []int{0, 1} {
			fd, err := openRaw(want == 1)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS); got != want || err != nil {
				t.Errorf("got %d, %v; want %d", got, err, want)
			}
			unix.Close(fd)
		}
	})
}

func TestUplinks(t *testing.T) {
	up := linkState{Interface: Interface{Name: "eth0"}, mac: make([]byte, 6), flags: unix.IFF_UP | unix.IFF_LOWER_UP, hardware: unix.ARPHRD_ETHER}
	if !isUplink(up) {
		t.Error("a plain NIC is no uplink")
	}
	for name, change := range map[string]func(*linkState){
		"unplugged":                func(l *linkState) { l.flags &^= unix.IFF_LOWER_UP },
		"down":                     func(l *linkState) { l.flags &^= unix.IFF_UP },
		"port of a container":      func(l *linkState) { l.Kind, l.master = "veth", 7 },
		"wire of a probe":          func(l *linkState) { l.Kind, l.Name = "veth", "vethfb01020304" },
		"tunnel":                   func(l *linkState) { l.Kind, l.Tunnel = "tun", true },
		"loopback":                 func(l *linkState) { l.hardware = unix.ARPHRD_LOOPBACK },
		"interface without frames": func(l *linkState) { l.hardware, l.mac = unix.ARPHRD_NONE, nil },
	} {
		l := up
		change(&l)
		if isUplink(l) {
			t.Errorf("%s: is an uplink", name)
		}
	}
	for name, change := range map[string]func(*linkState){
		"a container's own end": func(l *linkState) { l.Kind = "veth" },
		"NIC in a bridge":       func(l *linkState) { l.master = 7 },
		"NIC named like a wire": func(l *linkState) { l.Name = "vethfb01020304" },
	} {
		l := up
		change(&l)
		if !isUplink(l) {
			t.Errorf("%s: is no uplink", name)
		}
	}
}
