package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Kernel is what it takes to have programs run in the kernel, step by step.
type Kernel struct {
	NewMap     func(*ebpf.MapSpec) (*ebpf.Map, error)
	NewProgram func(*ebpf.ProgramSpec) (*ebpf.Program, error)
	Types      func() (*btf.Spec, error)
	Trace      func(*ebpf.Program) (link.Link, error)
	Tracepoint func(*ebpf.Program) (link.Link, error)
	Iterate    func(*ebpf.Program) (*link.Iter, error)
	Group      func(folder string, at ebpf.AttachType, p *ebpf.Program) (link.Link, error)
}

// ThisKernel is the one that the program runs on.
func ThisKernel() Kernel {
	return Kernel{
		NewMap: ebpf.NewMap,
		NewProgram: func(s *ebpf.ProgramSpec) (*ebpf.Program, error) {
			return ebpf.NewProgramWithOptions(s, ebpf.ProgramOptions{LogDisabled: true})
		},
		Types: btf.LoadKernelSpec,
		Trace: func(p *ebpf.Program) (link.Link, error) {
			return link.AttachTracing(link.TracingOptions{Program: p})
		},
		Tracepoint: func(p *ebpf.Program) (link.Link, error) {
			return link.Tracepoint("sock", stateTracepoint, p, nil)
		},
		Iterate: func(p *ebpf.Program) (*link.Iter, error) { return link.AttachIter(link.IterOptions{Program: p}) },
		Group: func(folder string, at ebpf.AttachType, p *ebpf.Program) (link.Link, error) {
			return link.AttachCgroup(link.CgroupOptions{Path: folder, Attach: at, Program: p})
		},
	}
}

// stateTracepoint is where the kernel tells that a TCP socket changes its state.
const stateTracepoint = "inet_sock_set_state"

// ErrRing says that the kernel has no ring through which it could tell: it is older
// than 5.8.
var ErrRing = errors.New("no ring buffer")

// license is that of what is loaded: the kernel lets programs under another not
// use some of its functions.
const license = "GPL"

// Sizes. A listener that comes and goes is two events of 56 bytes.
const (
	ringBytes  = 256 << 10
	mostChosen = 4096 // UDP sockets whose closing is told of
)

// makeMaps makes the maps of the programs.
func (p *Ports) makeMaps(k Kernel, group int) error {
	for _, m := range []struct {
		to   **ebpf.Map
		what string
		spec ebpf.MapSpec
	}{
		{&p.ring, "ring", ebpf.MapSpec{Name: "fb_ports", Type: ebpf.RingBuf, MaxEntries: ringBytes}},
		{&p.lost, "counter", ebpf.MapSpec{Name: "fb_ports_lost", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
		{&p.group, "control group", ebpf.MapSpec{Name: "fb_ports_group", Type: ebpf.CGroupArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}},
		{&p.chosen, "table of sockets", ebpf.MapSpec{Name: "fb_ports_udp", Type: ebpf.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: mostChosen}},
	} {
		made, err := k.NewMap(&m.spec)
		if err != nil && m.to == &p.ring && !errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: %w", ErrRing, err)
		}
		if err != nil {
			return fmt.Errorf("make map for the %s: %w", m.what, err)
		}
		*m.to = made
		p.closers = append(p.closers, made)
	}
	if err := p.group.Put(uint32(0), uint32(group)); err != nil {
		return fmt.Errorf("name the control group: %w", err)
	}
	return nil
}

func (p *Ports) maps() portMaps {
	return portMaps{ring: p.ring.FD(), lost: p.lost.FD(), group: p.group.FD(), chosen: p.chosen.FD()}
}

// watchTCP tells of TCP: by the types of the kernel, or else by its tracepoint.
func (p *Ports) watchTCP(k Kernel, at Place) error {
	err := p.watchTyped(k, at)
	if err == nil {
		return nil
	}
	err2 := p.run(k, ebpf.ProgramSpec{
		Name: "fb_ports_state", Type: ebpf.TracePoint, Instructions: tracepointProgram(at, p.maps()),
	}, k.Tracepoint)
	if err2 == nil {
		return nil
	}
	return fmt.Errorf("watch TCP: %w; with tracefs: %w", err, err2)
}

func (p *Ports) watchTyped(k Kernel, at Place) error {
	types, err := k.Types()
	if err != nil {
		return fmt.Errorf("read the types of the kernel: %w", err)
	}
	f, err := findPortFields(types)
	if err != nil {
		return err
	}
	return p.run(k, ebpf.ProgramSpec{
		Name: "fb_ports_state", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: stateTracepoint,
		Instructions: stateProgram(f, at, p.maps()),
	}, k.Trace)
}

// watchUDP tells of UDP, at the root of this host's control groups.
func (p *Ports) watchUDP(k Kernel, folder string) error {
	m := p.maps()
	for _, c := range []struct {
		name   string
		kind   ebpf.ProgramType
		at     ebpf.AttachType
		source asm.Instructions
	}{
		{"fb_ports_bind4", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Bind, bindProgram(false, m)},
		{"fb_ports_bind6", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet6Bind, bindProgram(true, m)},
		{"fb_ports_close", ebpf.CGroupSock, ebpf.AttachCgroupInetSockRelease, releaseProgram(m)},
	} {
		attach := func(prog *ebpf.Program) (link.Link, error) { return k.Group(folder, c.at, prog) }
		spec := ebpf.ProgramSpec{Name: c.name, Type: c.kind, AttachType: c.at, Instructions: c.source}
		if err := p.run(k, spec, attach); err != nil {
			return fmt.Errorf("watch UDP: %w", err)
		}
	}
	return nil
}

// run loads a program and attaches it.
func (p *Ports) run(k Kernel, spec ebpf.ProgramSpec, attach func(*ebpf.Program) (link.Link, error)) error {
	spec.License = license
	prog, err := k.NewProgram(&spec)
	if err != nil {
		return fmt.Errorf("load %s: %w", spec.Name, err)
	}
	l, err := attach(prog)
	if err != nil {
		return errors.Join(fmt.Errorf("attach %s: %w", spec.Name, err), prog.Close())
	}
	p.closers = append(p.closers, l, prog)
	return nil
}

// findPortFields finds what is read of a socket in the types of the kernel.
func findPortFields(types *btf.Spec) (portFields, error) {
	f := portFields{address6: -1}
	for _, want := range []struct {
		to   *int32
		of   string
		path []string
	}{
		{&f.number, "sock_common", []string{"skc_num"}},
		{&f.family, "sock_common", []string{"skc_family"}},
		{&f.address, "sock_common", []string{"skc_rcv_saddr"}},
		{&f.namespace, "sock_common", []string{"skc_net", "net"}},
		{&f.protocol, "sock", []string{"sk_protocol"}},
		{&f.namespaceInode, "net", []string{"ns", "inum"}},
	} {
		at, err := memberOf(types, want.of, want.path)
		if err != nil {
			return f, err
		}
		*want.to = at
	}
	if at, err := memberOf(types, "sock_common", []string{"skc_v6_rcv_saddr"}); err == nil {
		f.address6 = at
	}
	return f, nil
}

// memberOf is where a structure has a member.
func memberOf(types *btf.Spec, name string, path []string) (int32, error) {
	var s *btf.Struct
	if err := types.TypeByName(name, &s); err != nil {
		return 0, fmt.Errorf("read the types of the kernel: struct %s: %w", name, err)
	}
	at, ok := offsetOf(s, path)
	if !ok {
		return 0, fmt.Errorf("read the types of the kernel: struct %s has no %v", name, path)
	}
	return int32(at), nil
}

// Here is the place of the calling thread.
func Here() (Place, error) {
	var net, pid unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &net); err != nil {
		return Place{}, fmt.Errorf("find network namespace: %w", err)
	}
	if err := unix.Stat("/proc/self/ns/pid", &pid); err != nil {
		return Place{}, fmt.Errorf("find pid namespace: %w", err)
	}
	device := uint64(unix.Major(pid.Dev))<<20 | uint64(unix.Minor(pid.Dev)) // as the kernel has it
	return Place{netNS: uint32(net.Ino), pidDevice: device, pidInode: pid.Ino}, nil
}
