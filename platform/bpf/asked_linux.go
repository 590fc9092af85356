package bpf

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Asked tells which of the UDP sockets that are there asked for their port by its
// number, whenever that was: Ports tells of it at the time alone. The kernel keeps it
// with the socket and shows it nowhere, so a program goes through its table.
type Asked struct {
	program *ebpf.Program
	iter    *link.Iter
	shift   uint32
}

// askedFields are where this kernel keeps what is read.
type askedFields struct {
	number, locks int32  // of struct sock
	shift         uint32 // where in its byte locks begins: older kernels have others beside it
}

// bindPortLock is SOCK_BINDPORT_LOCK of include/net/sock.h: set by a bind that names
// a port.
const bindPortLock = 8

// One record of what the program tells.
const (
	askedCookie = 0
	askedPort   = 8
	askedLocks  = 10
	askedSize   = 16
)

// OpenAsked gets ready to tell.
func OpenAsked(k Kernel) (*Asked, error) {
	// Reading the types of the kernel takes some megabytes for a moment.
	defer debug.FreeOSMemory()
	types, err := k.Types()
	if err != nil {
		return nil, fmt.Errorf("read the types of the kernel: %w", err)
	}
	f, err := findAskedFields(types)
	if err != nil {
		return nil, err
	}
	program, err := k.NewProgram(&ebpf.ProgramSpec{
		Name: "fb_udp_asked", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "udp",
		Instructions: askedProgram(f), License: license,
	})
	if err != nil {
		return nil, fmt.Errorf("load fb_udp_asked: %w", err)
	}
	iter, err := k.Iterate(program)
	if err != nil {
		_ = program.Close() // the first error is the one that counts
		return nil, fmt.Errorf("attach fb_udp_asked: %w", err)
	}
	return &Asked{program: program, iter: iter, shift: f.shift}, nil
}

// Close frees what is kept open.
func (a *Asked) Close() error {
	err := a.iter.Close()
	if err2 := a.program.Close(); err == nil {
		err = err2
	}
	return err
}

// Read calls tell with every such socket in the network namespace of the calling
// thread.
func (a *Asked) Read(tell func(cookie uint64, port uint16, now time.Time)) error {
	now := time.Now()
	file, err := a.iter.Open()
	if err != nil {
		return fmt.Errorf("read UDP sockets: %w", err)
	}
	defer file.Close()
	all, err := io.ReadAll(file)
	if err != nil {
		return fmt.Errorf("read UDP sockets: %w", err)
	}
	for ; len(all) >= askedSize; all = all[askedSize:] {
		if all[askedLocks]>>a.shift&bindPortLock != 0 {
			tell(binary.NativeEndian.Uint64(all[askedCookie:]), binary.NativeEndian.Uint16(all[askedPort:]), now)
		}
	}
	return nil
}

func findAskedFields(types *btf.Spec) (askedFields, error) {
	var f askedFields
	var err error
	if f.number, err = memberOf(types, "sock_common", []string{"skc_num"}); err != nil {
		return f, err
	}
	var sock *btf.Struct
	if err := types.TypeByName("sock", &sock); err != nil {
		return f, fmt.Errorf("read the types of the kernel: struct sock: %w", err)
	}
	for _, m := range sock.Members {
		if m.Name == "sk_userlocks" {
			f.locks, f.shift = int32(m.Offset/8), uint32(m.Offset%8)
			return f, nil
		}
	}
	return f, fmt.Errorf("read the types of the kernel: struct sock has no sk_userlocks: %w", unix.ENOENT)
}

// askedProgram is called with each socket in turn, and at the end with none: see
// struct bpf_iter__udp of the kernel.
func askedProgram(f askedFields) asm.Instructions {
	w := &writer{}
	const record = -askedSize
	w.add(
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord), // meta
		asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord), // the socket
		asm.JEq.Imm(asm.R7, 0, "out"),
	)
	w.add(zero(asm.RFP, record+askedPort)...)
	w.add(
		asm.LoadMem(asm.R1, asm.R7, int16(f.number), asm.Half),
		asm.StoreMem(asm.RFP, record+askedPort, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, asm.R7, int16(f.locks), asm.Byte),
		asm.StoreMem(asm.RFP, record+askedLocks, asm.R1, asm.Byte),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnGetSocketCookie.Call(),
		asm.StoreMem(asm.RFP, record+askedCookie, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord), // the file that is read
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, record),
		asm.Mov.Imm(asm.R3, askedSize),
		asm.FnSeqWrite.Call(),
	)
	w.add(asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	return w.Instructions
}
