package bpf

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// portMaps are the file descriptors of the maps that the programs use.
type portMaps struct {
	ring   int
	lost   int // counts what the ring had no room for
	group  int // the root of this host's control groups
	chosen int // UDP sockets whose port was asked for by its number: cookie to port
}

// Place is who watches: the numbers by which the kernel knows the namespaces.
type Place struct {
	netNS     uint32
	pidDevice uint64
	pidInode  uint64
}

// portFields are where this kernel keeps what is read of a socket.
type portFields struct {
	number, family, address, namespace int32 // of struct sock, by way of sock_common
	address6                           int32 // -1 on a kernel without IPv6
	protocol                           int32
	namespaceInode                     int32 // of struct net
}

// tcpListen is the state of a socket that listens, from tcp_states.h.
const tcpListen = 10

// What is on the stack of these programs, below the frame pointer.
const (
	atCookie  = -8
	atNumber  = -16 // of a port, or the index of an entry
	atProcess = -24 // struct bpf_pidns_info: pid, tgid
)

// key makes R2 point to a place on the stack.
func (w *writer) key(at int32) {
	w.add(asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, at))
}

// stateProgram tells of TCP sockets that begin or cease to listen. It gets the
// socket, the old state and the new one.
func stateProgram(f portFields, at Place, m portMaps) asm.Instructions {
	w := &writer{}
	w.add(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord),
		asm.LoadMem(asm.R2, asm.R6, 16, asm.DWord),
	)
	w.listening()
	w.add(
		asm.LoadMem(asm.R1, asm.R7, int16(f.protocol), asm.Half),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_TCP, "out"),
	)
	w.ofThisHost(m.group, func() {
		w.add(
			asm.LoadMem(asm.R1, asm.R7, int16(f.namespace), asm.DWord),
			asm.LoadMem(asm.R1, asm.R1, int16(f.namespaceInode), asm.Word),
			asm.JNE.Imm32(asm.R1, int32(at.netNS), "out"),
		)
	})
	w.reserve(m)
	w.add(
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnGetSocketCookie.Call(),
		asm.StoreMem(asm.R8, portCookie, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.R7, int16(f.namespace), asm.DWord),
		asm.LoadMem(asm.R1, asm.R1, int16(f.namespaceInode), asm.Word),
		asm.StoreMem(asm.R8, portNetNS, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R7, int16(f.number), asm.Half),
		asm.StoreMem(asm.R8, portPort, asm.R1, asm.Half),
	)
	w.process(at)
	w.address(asm.R7, f.family, f.address, f.address6)
	w.submit(true)
	return w.Instructions
}

// The members of the record of the tracepoint sock:inet_sock_set_state, which is
// an interface that the kernel keeps.
const (
	traceOld      = 16
	traceNew      = 20
	tracePort     = 24
	traceFamily   = 28
	traceProtocol = 30
	traceAddress  = 32
	traceAddress6 = 40
)

// tracepointProgram does the same where the kernel does not describe its types. It
// knows neither the cookie of a socket nor its namespace.
func tracepointProgram(at Place, m portMaps) asm.Instructions {
	w := &writer{}
	w.add(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, traceOld, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, traceNew, asm.Word),
	)
	w.listening()
	w.add(
		asm.LoadMem(asm.R1, asm.R6, traceProtocol, asm.Half),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_TCP, "out"),
	)
	w.ofThisHost(m.group, func() { w.add(asm.Ja.Label("out")) })
	w.reserve(m)
	w.add(zero(asm.R8, portCookie)...)
	w.add(
		asm.StoreImm(asm.R8, portNetNS, 0, asm.Word),
		asm.LoadMem(asm.R1, asm.R6, tracePort, asm.Half),
		asm.StoreMem(asm.R8, portPort, asm.R1, asm.Half),
	)
	w.process(at)
	w.address(asm.R6, traceFamily, traceAddress, traceAddress6)
	w.submit(true)
	return w.Instructions
}

// listening leaves in R9 what a change from the state in R1 to that in R2 means,
// and ends the program if it means nothing.
func (w *writer) listening() {
	w.add(
		asm.JEq.Reg(asm.R1, asm.R2, "out"),
		asm.Mov.Imm(asm.R9, int32(Listens)),
		asm.JEq.Imm(asm.R2, tcpListen, "matters"),
		asm.Mov.Imm(asm.R9, int32(Ceased)),
		asm.JNE.Imm(asm.R1, tcpListen, "out"),
	)
	w.label("matters")
}

// ofThisHost goes on if the process is in this host's control groups; for others
// it is up to the given instructions.
func (w *writer) ofThisHost(group int, others func()) {
	w.add(
		asm.LoadMapPtr(asm.R1, group),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnCurrentTaskUnderCgroup.Call(),
		asm.JEq.Imm(asm.R0, 1, "ours"),
	)
	others()
	w.label("ours")
}

// reserve makes R8 the place of an event, or counts that there is none.
func (w *writer) reserve(m portMaps) {
	w.add(
		asm.LoadMapPtr(asm.R1, m.ring),
		asm.Mov.Imm(asm.R2, portSize),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.JNE.Imm(asm.R8, 0, "room"),
	)
	w.add(zero(asm.RFP, atNumber)...)
	w.add(asm.LoadMapPtr(asm.R1, m.lost))
	w.key(atNumber)
	w.add(
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Ja.Label("out"),
	)
	w.label("room")
}

// process tells who it was: the user, and the process as the reader's namespace
// numbers it.
func (w *writer) process(at Place) {
	w.add(
		asm.FnGetCurrentUidGid.Call(),
		asm.StoreMem(asm.R8, portUID, asm.R0, asm.Word),
	)
	w.add(zero(asm.RFP, atProcess)...)
	w.add(
		asm.LoadImm(asm.R1, int64(at.pidDevice), asm.DWord),
		asm.LoadImm(asm.R2, int64(at.pidInode), asm.DWord),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, atProcess),
		asm.Mov.Imm(asm.R4, 8),
		asm.FnGetNsCurrentPidTgid.Call(), // of another namespace: 0 is left there
		asm.LoadMem(asm.R1, asm.RFP, atProcess+4, asm.Word),
		asm.StoreMem(asm.R8, portPID, asm.R1, asm.Word),
	)
}

// address tells the address of what from points to.
func (w *writer) address(from asm.Register, family, v4, v6 int32) {
	w.add(
		asm.LoadMem(asm.R1, from, int16(family), asm.Half),
		asm.StoreMem(asm.R8, portFamily, asm.R1, asm.Half),
		asm.StoreImm(asm.R8, portFamily+2, 0, asm.Half),
	)
	if v6 >= 0 {
		w.add(asm.JEq.Imm(asm.R1, familyV6, "six"))
	}
	w.add(
		asm.LoadMem(asm.R1, from, int16(v4), asm.Word),
		asm.StoreMem(asm.R8, portAddress, asm.R1, asm.Word),
		asm.StoreImm(asm.R8, portAddress+4, 0, asm.Word),
	)
	w.add(zero(asm.R8, portAddress+8)...)
	if v6 < 0 {
		return
	}
	w.add(asm.Ja.Label("addressed"))
	w.label("six")
	for i := int16(0); i < 16; i += 4 {
		w.add(
			asm.LoadMem(asm.R1, from, int16(v6)+i, asm.Word),
			asm.StoreMem(asm.R8, portAddress+i, asm.R1, asm.Word),
		)
	}
	w.label("addressed")
}

// submit hands the event over; R9 is what changed. The program ends with 1, which
// lets a bind go on.
func (w *writer) submit(tcp bool) {
	isTCP := int64(0)
	if tcp {
		isTCP = 1
	}
	w.add(
		asm.StoreMem(asm.R8, portChange, asm.R9, asm.Byte),
		asm.StoreImm(asm.R8, portTCP, isTCP, asm.Byte),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRingbufSubmit.Call(),
	)
	w.label("out")
	w.add(asm.Mov.Imm(asm.R0, 1), asm.Return())
}
