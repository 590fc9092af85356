package platform

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	gopsutil "github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"
)

// TestUDPCorpus opens UDP sockets as real programs do, and asks which of them
// serve. That must be right without exception, of sockets that were there before the
// agent too, where the kernel tells of binds or can be asked for what is bound. Where
// it does neither, services within the range that it hands out are missed, as
// sockets.UDPServices says, and nothing else is wrong.
func TestUDPCorpus(t *testing.T) {
	needTools(t, "ss")
	needPortEvents(t)
	for _, c := range []struct {
		name        string
		tells, asks bool
	}{{"the kernel tells", true, true}, {"the kernel can be asked", false, true}, {"the kernel says nothing", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, _ world) {
				k := &udpCorpus{t: t, real: map[uint16]bool{}, of: map[uint16]string{}}
				defer k.close()
				k.run(c.tells, c.asks)
			})
		})
	}
}

// run opens one half of the sockets before the agent starts, and the other half
// afterwards.
func (k *udpCorpus) run(tells, asks bool) {
	const before = 3         // of the cases that are opened twice, how far their ports lie apart
	k.handOut("50000 60999") // ports that no case asks for
	for _, c := range udpCases {
		k.open(c, 0)
	}
	k.handOut("32768 60999")
	var o Observer
	if tells {
		o, _ = watching(k.t)
	} else {
		mute := newObserver(Options{}, nil).(*observer)
		mute.kernel.NewMap = func(*ebpf.MapSpec) (*ebpf.Map, error) { return nil, unix.EPERM }
		if !asks {
			mute.kernel.NewProgram = func(*ebpf.ProgramSpec) (*ebpf.Program, error) { return nil, unix.EPERM }
		}
		mute.Events(k.t.Context())
		o = mute
	}
	portsOf(k.t, o, UDP)
	k.handOut("50000 60999")
	for _, c := range udpCases {
		if !c.once {
			k.open(c, before)
		}
	}
	k.handOut("32768 60999")
	time.Sleep(50 * time.Millisecond)
	ours := k.judge("firebreak", slices.Collect(maps.Keys(portsOf(k.t, o, UDP))))
	peers := []udpVerdict{
		k.judge("gopsutil v3", udpPortsIn(k.t, "/proc/self/exe", "-test.run=^TestUDPPeer$")),
		k.judge("ss -lun", udpPortsIn(k.t, "ss", "-Hlun")),
	}
	fmt.Printf("| %-36s | %5s | %6s |\n", fmt.Sprintf("%d cases, %d ports, %d serve", len(udpCases), len(k.real), k.serving()), "false", "missed")
	for _, v := range append([]udpVerdict{ours}, peers...) {
		fmt.Printf("| %-36s | %5d | %6d |\n", v.who, len(v.wrong), len(v.missed))
	}
	var want []uint16
	handedOut := newUDPServices().HandedOut
	for port, serves := range k.real {
		if serves && handedOut(port) && !asks {
			want = append(want, port)
		}
	}
	slices.Sort(want)
	for _, port := range ours.wrong {
		k.t.Errorf("%d is said to serve: %s", port, k.of[port])
	}
	for _, port := range ours.missed {
		if !slices.Contains(want, port) {
			k.t.Errorf("%d is missed: %s", port, k.of[port])
		}
	}
	for _, port := range want {
		if !slices.Contains(ours.missed, port) {
			k.t.Errorf("%d is seen, though nothing tells of it: %s", port, k.of[port])
		}
	}
	for _, v := range peers {
		if len(v.wrong) == 0 {
			k.t.Errorf("%s took none that asks for a service: the corpus is not what it should be", v.who)
		}
	}
}

// udpCorpus is what is open, and what of it serves.
type udpCorpus struct {
	t       *testing.T
	fds     []int
	ends    []func()
	real    map[uint16]bool   // by port: it serves
	of      map[uint16]string // by port: the case
	current udpCase
}

func (k *udpCorpus) close() {
	for _, fd := range k.fds {
		_ = unix.Close(fd)
	}
	for _, end := range k.ends {
		end()
	}
}

func (k *udpCorpus) open(c udpCase, shift int) {
	k.current = c
	if c.uid != 0 {
		if err := unix.Setfsuid(c.uid); err != nil {
			k.t.Error(err)
			runtime.Goexit()
		}
	}
	port := c.port
	if port != 0 {
		port += shift
	}
	c.open(k, port)
	if c.uid != 0 {
		_ = unix.Setfsuid(0)
	}
}

// handOut sets the range that the kernel chooses ports from. The agent reads it when
// it starts.
func (k *udpCorpus) handOut(ports string) {
	k.check(os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(ports), 0))
}

func (k *udpCorpus) serving() (n int) {
	for _, serves := range k.real {
		if serves {
			n++
		}
	}
	return n
}

type udpVerdict struct {
	who           string
	wrong, missed []uint16 // taken for a service; not seen
}

func (k *udpCorpus) judge(who string, said []uint16) udpVerdict {
	v := udpVerdict{who: who}
	for port, serves := range k.real {
		switch told := slices.Contains(said, port); {
		case told && !serves:
			v.wrong = append(v.wrong, port)
		case !told && serves:
			v.missed = append(v.missed, port)
		}
	}
	slices.Sort(v.wrong)
	slices.Sort(v.missed)
	return v
}

// udpPortsIn runs a program in the namespace of the calling thread, and returns the
// local ports of the sockets it lists.
func udpPortsIn(t *testing.T, name string, args ...string) (ports []uint16) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), udpPeer+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("run %s: %v", name, err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == "UNCONN" {
			var port uint16
			if n, _ := fmt.Sscan(f[3][strings.LastIndex(f[3], ":")+1:], &port); n == 1 {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

const udpPeer = "FIREBREAK_UDP_PEER"

// TestUDPPeer prints what gopsutil sees, as ss would: who uses it takes a socket
// that is connected to nobody for one that serves.
func TestUDPPeer(t *testing.T) {
	if os.Getenv(udpPeer) == "" {
		t.Skip("is run by TestUDPCorpus as a process of its own")
	}
	all, err := gopsutil.Connections("udp")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Raddr.Port == 0 {
			fmt.Printf("UNCONN 0 0 %s:%d\n", c.Laddr.IP, c.Laddr.Port)
		}
	}
}
