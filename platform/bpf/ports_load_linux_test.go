package bpf

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// TestPortsByTracepoint has a kernel that does not describe its types.
func TestPortsByTracepoint(t *testing.T) {
	inNetns(t, func() {
		if _, err := os.Stat("/sys/kernel/tracing/events"); err != nil {
			check(t, unix.Unshare(unix.CLONE_NEWNS))
			check(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
			if err := unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, ""); err != nil {
				t.Logf("skipped: mount tracefs: %v", err)
				return
			}
		}
		k := ThisKernel()
		k.Types = func() (*btf.Spec, error) { return nil, ebpf.ErrNotSupported }
		p := watchHere(t, k)
		fd, _ := open(t, unix.AF_INET6, unix.SOCK_STREAM)
		check(t, unix.Bind(fd, address(unix.AF_INET6, "::1", 40445)))
		check(t, unix.Listen(fd, 1))
		check(t, unix.Close(fd))
		for _, change := range []PortChange{Listens, Ceased} {
			e := p.next(0)
			for e.Port != 40445 { // others listen meanwhile: no cookie tells them apart
				e = p.next(0)
			}
			if e.Change != change || !e.TCP || e.Address != netip.IPv6Loopback() || e.PID != os.Getpid() {
				t.Errorf("got %+v; want change %d", e, change)
			}
		}
	})
}

// TestPortsSayWhichStepFailed lets each step fail in turn: nothing stays behind.
func TestPortsSayWhichStepFailed(t *testing.T) {
	root := unified(t)
	refused := errors.New("refused by the test")
	for _, c := range []struct {
		want  string
		spoil func(*Kernel)
	}{
		{"make map for the ring", func(k *Kernel) {
			k.NewMap = func(*ebpf.MapSpec) (*ebpf.Map, error) { return nil, refused }
		}},
		{"watch TCP: load fb_ports_state", func(k *Kernel) {
			k.NewProgram = func(*ebpf.ProgramSpec) (*ebpf.Program, error) { return nil, refused }
		}},
		{"watch TCP: attach fb_ports_state", func(k *Kernel) {
			k.Trace = func(*ebpf.Program) (link.Link, error) { return nil, refused }
			k.Tracepoint = k.Trace
		}},
		{"watch UDP: attach fb_ports_bind4", func(k *Kernel) {
			k.Group = func(string, ebpf.AttachType, *ebpf.Program) (link.Link, error) { return nil, refused }
		}},
	} {
		k := ThisKernel()
		c.spoil(&k)
		before := descriptors(t)
		_, err := OpenPorts(k, here(t), root)
		if !errors.Is(err, refused) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got %v; want %q", err, c.want)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%s: %d files are open after it, and %d before", c.want, after, before)
		}
	}
}
