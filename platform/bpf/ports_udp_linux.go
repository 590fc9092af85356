package bpf

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// sockProtocol is a member of struct bpf_sock, the argument of the program that
// sees sockets closed.
const sockProtocol = 12

// bindProgram tells of UDP sockets that ask for a port by its number. It lets
// everybody bind.
func bindProgram(six bool, m portMaps) asm.Instructions {
	w := &writer{}
	w.add(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, argProtocol, asm.Word),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "out"),
		asm.LoadMem(asm.R7, asm.R6, argPort, asm.Word),
		asm.And.Imm(asm.R7, 0xffff),
		asm.JEq.Imm(asm.R7, 0, "out"),
		asm.HostTo(asm.BE, asm.R7, asm.Half),
	)
	w.cookie()
	w.add(asm.StoreMem(asm.RFP, atNumber, asm.R7, asm.DWord))
	w.add(asm.LoadMapPtr(asm.R1, m.chosen))
	w.key(atCookie)
	w.add(
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, atNumber),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.Mov.Imm(asm.R9, int32(Bound)),
	)
	w.reserve(m)
	w.socket()
	family, address := int64(familyV4), []int16{argIP4}
	if six {
		family, address = familyV6, []int16{argIP6, argIP6 + 4, argIP6 + 8, argIP6 + 12}
	}
	w.add(asm.StoreImm(asm.R8, portFamily, family, asm.Word))
	for i, from := range address {
		w.add(
			asm.LoadMem(asm.R1, asm.R6, from, asm.Word),
			asm.StoreMem(asm.R8, portAddress+int16(4*i), asm.R1, asm.Word),
		)
	}
	w.submit(false)
	return w.Instructions
}

// releaseProgram tells that a socket is closed of which bindProgram told.
func releaseProgram(m portMaps) asm.Instructions {
	w := &writer{}
	w.add(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, sockProtocol, asm.Word),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "out"),
	)
	w.cookie()
	w.add(asm.LoadMapPtr(asm.R1, m.chosen))
	w.key(atCookie)
	w.add(
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.DWord),
		asm.LoadMapPtr(asm.R1, m.chosen),
	)
	w.key(atCookie)
	w.add(
		asm.FnMapDeleteElem.Call(),
		asm.Mov.Imm(asm.R9, int32(Released)),
	)
	w.reserve(m)
	w.socket()
	w.add(asm.StoreImm(asm.R8, portFamily, 0, asm.Word))
	w.submit(false)
	return w.Instructions
}

// cookie puts the name of the socket, whose context R6 is, onto the stack.
func (w *writer) cookie() {
	w.add(
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.FnGetSocketCookie.Call(),
		asm.StoreMem(asm.RFP, atCookie, asm.R0, asm.DWord),
	)
}

// socket tells the socket on the stack and the port in R7, and nothing of who it
// was: not every kernel lets these programs know.
func (w *writer) socket() {
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atCookie, asm.DWord),
		asm.StoreMem(asm.R8, portCookie, asm.R1, asm.DWord),
		asm.StoreMem(asm.R8, portPort, asm.R7, asm.Half),
	)
	w.add(zero(asm.R8, portPID)...)
	w.add(asm.StoreImm(asm.R8, portNetNS, 0, asm.Word))
	w.add(zero(asm.R8, portAddress)...)
	w.add(zero(asm.R8, portAddress+8)...)
}
