package bpf

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Members of struct bpf_sock_addr, the argument of the program.
const (
	argIP4      = 4
	argIP6      = 8
	argPort     = 24 // in network byte order, in the lower half of 32 bits
	argProtocol = 36
)

// protoMPTCP is TCP over several paths, which shares the ports of TCP.
const protoMPTCP = 262

// What is on the stack, below the frame pointer. The first three are the key of
// the map of those that were told of; name and state are that of the map of names.
const (
	atPort   = -32 // protocol<<16 | port as in the argument
	atUID    = -28
	atInode  = -24
	atDevice = -16
	atUnit   = -12
	atExe    = -8 // number of the executable, 0 if it is none that passes
	atEntry  = -48
	atLength = -56
	atSuffix = -64
	atState  = -72
	atName   = -200
)

// maps are the file descriptors of the maps that the program uses.
type maps struct{ ports, names, told, events int }

// writer puts the program together.
type writer struct {
	asm.Instructions
	f      fields
	m      maps
	labels int
	next   string // label of the next instruction
}

func (w *writer) add(ins ...asm.Instruction) {
	for _, i := range ins {
		if w.next != "" {
			i, w.next = i.WithSymbol(w.next), ""
		}
		w.Instructions = append(w.Instructions, i)
	}
}

// label names the next instruction. If it has a name already, a jump that does
// nothing carries it.
func (w *writer) label(name string) {
	if w.next != "" {
		w.add(asm.Mov.Reg(asm.R6, asm.R6))
	}
	w.next = name
}

func (w *writer) fresh(what string) string {
	w.labels++
	return fmt.Sprintf("%s%d", what, w.labels)
}

// program returns the instructions for one kind of bind. The namespace is
// compared first: whatever is not of this host costs nothing more.
func program(d Deny, six bool, groups [][]Pass, n names, f fields, m maps) asm.Instructions {
	w := &writer{f: f, m: m}
	w.add(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetNetnsCookie.Call(),
		asm.LoadImm(asm.R1, int64(d.Cookie), asm.DWord),
		asm.JNE.Reg(asm.R0, asm.R1, "allow"),
	)
	w.port()
	w.loopback(six)
	w.owner(groups, d.Root)
	w.passes(groups, n)
	w.refuse(d.PIDNamespace)
	w.label("allow")
	w.add(asm.Mov.Imm(asm.R0, 1), asm.Return())
	return w.Instructions
}

// port looks the port up: R9 is then the number of those who may pass.
func (w *writer) port() {
	w.add(
		asm.LoadMem(asm.R1, asm.R6, argProtocol, asm.Word),
		asm.Mov.Imm(asm.R2, unix.IPPROTO_TCP),
		asm.JEq.Imm(asm.R1, unix.IPPROTO_TCP, "known"),
		asm.JEq.Imm(asm.R1, protoMPTCP, "known"),
		asm.Mov.Imm(asm.R2, unix.IPPROTO_UDP),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "allow"),
	)
	w.label("known")
	w.add(
		asm.LSh.Imm(asm.R2, 16),
		asm.LoadMem(asm.R1, asm.R6, argPort, asm.Word),
		asm.And.Imm(asm.R1, 0xffff),
		asm.Or.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.RFP, atPort, asm.R2, asm.Word),
		asm.LoadMapPtr(asm.R1, w.m.ports),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, atPort),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "allow"),
		asm.LoadMem(asm.R9, asm.R0, 0, asm.Word),
	)
}

// native is four bytes of the network as the program reads them.
func native(a, b, c, d byte) int32 {
	return int32(binary.NativeEndian.Uint32([]byte{a, b, c, d}))
}

// loopback lets what only this host can reach pass.
func (w *writer) loopback(six bool) {
	if !six {
		w.add(
			asm.LoadMem(asm.R1, asm.R6, argIP4, asm.Word),
			asm.And.Imm32(asm.R1, native(0xff, 0, 0, 0)),
			asm.JEq.Imm32(asm.R1, native(127, 0, 0, 0), "allow"),
		)
		return
	}
	w.add(
		asm.LoadMem(asm.R1, asm.R6, argIP6, asm.Word),
		asm.JNE.Imm32(asm.R1, 0, "outside"),
		asm.LoadMem(asm.R1, asm.R6, argIP6+4, asm.Word),
		asm.JNE.Imm32(asm.R1, 0, "outside"),
		asm.LoadMem(asm.R1, asm.R6, argIP6+8, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, argIP6+12, asm.Word),
		asm.JEq.Imm32(asm.R1, native(0, 0, 0xff, 0xff), "mapped"),
		asm.JNE.Imm32(asm.R1, 0, "outside"),
		asm.JEq.Imm32(asm.R2, native(0, 0, 0, 1), "allow"),
		asm.Ja.Label("outside"),
	)
	w.label("mapped")
	w.add(
		asm.And.Imm32(asm.R2, native(0xff, 0, 0, 0)),
		asm.JEq.Imm32(asm.R2, native(127, 0, 0, 0), "allow"),
	)
	w.label("outside")
}

// zero clears eight bytes.
func zero(at asm.Register, offset int16) []asm.Instruction {
	return []asm.Instruction{asm.StoreImm(at, offset, 0, asm.Word), asm.StoreImm(at, offset+4, 0, asm.Word)}
}

// read reads size bytes at an offset of what R7 points to onto the stack. What
// cannot be read is zero.
func (w *writer) read(to int16, size, offset int32) {
	w.add(
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(to)),
		asm.Mov.Imm(asm.R2, size),
		asm.Mov.Reg(asm.R3, asm.R7),
		asm.Add.Imm(asm.R3, offset),
		asm.FnProbeReadKernel.Call(),
	)
}

// follow makes R7 the pointer at an offset of what it points to.
func (w *writer) follow(offsets ...int32) {
	for _, offset := range offsets {
		w.read(atLength, 8, offset)
		w.add(asm.LoadMem(asm.R7, asm.RFP, atLength, asm.DWord))
	}
}

func (w *writer) task() {
	w.add(asm.FnGetCurrentTask.Call(), asm.Mov.Reg(asm.R7, asm.R0))
}

// passes lets those who are excepted bind.
func (w *writer) passes(groups [][]Pass, n names) {
	for i, group := range groups {
		next := w.fresh("group")
		w.add(asm.JNE.Imm(asm.R9, int32(i), next))
		for _, p := range group {
			other := w.fresh("pass")
			if p.UID != nil {
				w.add(asm.LoadMem(asm.R1, asm.RFP, atUID, asm.Word), asm.JNE.Imm32(asm.R1, int32(*p.UID), other))
			}
			if p.Exe != nil {
				w.add(
					asm.LoadMem(asm.R1, asm.RFP, atExe, asm.Word), asm.JNE.Imm32(asm.R1, int32(n.exe(p.Exe.Path)), other),
					asm.LoadMem(asm.R1, asm.RFP, atDevice, asm.Word), asm.JNE.Imm32(asm.R1, int32(p.Exe.Device), other),
				)
			}
			if p.Unit != "" {
				w.add(asm.LoadMem(asm.R1, asm.RFP, atUnit, asm.Word), asm.JNE.Imm32(asm.R1, int32(n.unit(p.Unit)), other))
			}
			w.add(asm.Ja.Label("allow"))
			w.label(other)
		}
		w.add(asm.Ja.Label("refuse"))
		w.label(next)
	}
	w.label("refuse")
}
