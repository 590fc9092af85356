package bpf

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// exePath is where a file is in its file system.
func exePath(t testing.TB, path string) (uint32, string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	best, device, below := "", uint32(0), ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		rest, ok := strings.CutPrefix(path, strings.TrimSuffix(f[4], "/")+"/")
		if ok && len(f[4]) >= len(best) {
			major, minor, _ := strings.Cut(f[2], ":")
			best, device, below = f[4], number(major)<<20|number(minor), filepath.Join(f[3], rest)
		}
	}
	return device, below
}

func number(text string) uint32 {
	n := uint32(0)
	for _, c := range text {
		n = 10*n + uint32(c-'0')
	}
	return n
}

// TestDenyNoticesAlterations makes what root could do to the programs, and sees
// that it is found and put right.
func TestDenyNoticesAlterations(t *testing.T) {
	open := func(t testing.TB, p place, pin string) link.Link {
		l, err := link.LoadPinnedLink(filepath.Join(p.Pins, pin), nil)
		if err != nil {
			t.Error(err)
			runtime.Goexit()
		}
		return l
	}
	harmless := func(t testing.TB, kind ebpf.AttachType) *ebpf.Program {
		prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.CGroupSockAddr, AttachType: kind, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
		})
		if err != nil {
			t.Error(err)
			runtime.Goexit()
		}
		return prog
	}
	for name, alter := range map[string]func(t testing.TB, p place){
		"one pin removed":  func(t testing.TB, p place) { os.Remove(filepath.Join(p.Pins, "bind4")) },
		"all pins removed": func(t testing.TB, p place) { os.RemoveAll(p.Pins) },
		"detached": func(t testing.TB, p place) {
			l := open(t, p, "bind4")
			defer l.Close()
			if err := l.Detach(); err != nil {
				t.Error(err)
			}
		},
		"another program": func(t testing.TB, p place) {
			l, prog := open(t, p, "bind6"), harmless(t, ebpf.AttachCGroupInet6Bind)
			defer l.Close()
			defer prog.Close()
			if err := l.Update(prog); err != nil {
				t.Error(err)
			}
		},
		"the same program with other maps": func(t testing.TB, p place) {
			other := Denier{Group: p.Group, Pins: p.Pins}
			d := p.deny
			d.Ports = nil
			l, err := other.load(d, []byte("label"), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer l.close()
			pinned := open(t, p, "bind4")
			defer pinned.Close()
			if err := pinned.Update(l.programs[0]); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(p place) {
				p.set(t, tcp(445, 445))
				alter(t, p)
				// The kernel lets go of a link a moment after its pin.
				refuses := func() bool { return bind("tcp4", "0.0.0.0", 445) == "EPERM" && bind("tcp6", "::", 445) == "EPERM" }
				for end := time.Now().Add(2 * time.Second); refuses() && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				if refuses() {
					t.Error("altered, and it still refuses all: nothing was tried")
				}
				if _, _, _, err := p.Get(); !errors.Is(err, ErrAltered) && !errors.Is(err, os.ErrNotExist) {
					t.Errorf("got %v; want it found", err)
				}
				p.set(t, tcp(445, 445))
				if _, _, _, err := p.Get(); err != nil {
					t.Errorf("after putting it right: %v", err)
				}
				for _, network := range []string{"tcp4", "tcp6"} {
					if got := bind(network, "::", 445); got != "EPERM" {
						t.Errorf("%s after putting it right: %s", network, got)
					}
				}
			})
		})
	}
	t.Run("a frozen map", func(t *testing.T) {
		inPlace(t, func(p place) {
			p.set(t, tcp(445, 445))
			a, err := p.attached()
			if err != nil {
				t.Error(err)
				return
			}
			defer a.close()
			if err := a.maps[mapPorts].Delete(portKey(unix.IPPROTO_TCP, 445)); err == nil {
				t.Error("a port was taken out of the map")
			}
		})
	})
}

// BenchmarkBind is what a bind costs that no rule is about, with and without the
// programs.
func BenchmarkBind(b *testing.B) {
	run := func(b *testing.B, port int) {
		for b.Loop() {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				b.Error(err)
				return
			}
			if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err != nil && err != unix.EPERM {
				b.Error(err)
			}
			unix.Close(fd)
		}
	}
	var without float64
	for _, c := range []struct {
		name  string
		spans []DeniedSpan
		port  int
		other bool
	}{
		{"without", nil, 7000, false},
		{"with", []DeniedSpan{tcp(445, 445), tcp(5900, 5999)}, 7000, false},
		{"in another namespace", []DeniedSpan{tcp(445, 445)}, 7000, true},
		{"refused", []DeniedSpan{tcp(445, 445)}, 445, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			inPlace(b, func(p place) {
				if c.other {
					p.deny.Cookie++
				}
				if c.spans != nil {
					p.set(b, c.spans...)
				}
				run(b, c.port)
				each := float64(b.Elapsed()) / float64(b.N)
				if c.spans == nil {
					without = each
				}
				b.ReportMetric(each/without, "times-without")
			})
		})
	}
}
