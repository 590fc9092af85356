package bpf

import (
	"github.com/cilium/ebpf/asm"
)

// event is the layout of what the program tells of one refused bind: the key of
// the map of those that were told of, and more.
const (
	eventPort   = 0
	eventUID    = 4
	eventInode  = 8
	eventDevice = 16
	eventPID    = 20
	eventComm   = 24
	eventNames  = 40 // of the executable, from the last to that of the root, "/"
	eventName   = 64
	eventSize   = eventNames + (maxNames+1)*eventName
)

const (
	commLength = 16
	// maxSpaces is how deep namespaces of processes are searched; the kernel has 32.
	maxSpaces = 8
	// quiet is for how long, in ns, a program that was told of is only counted.
	quiet = 1_000_000_000
)

// refuse counts a bind, tells of it unless it was told of just now, and refuses
// it.
func (w *writer) refuse(space uint32) {
	key := func() { w.add(asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, atPort)) }
	w.add(asm.LoadMapPtr(asm.R1, w.m.told))
	key()
	w.add(
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "first"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	)
	// The count is at the beginning of an entry, the time after it.
	w.add(
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R1, asm.R8, 8, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.Sub.Reg(asm.R2, asm.R1),
		asm.JLT.Imm(asm.R2, quiet, "deny"),
		asm.StoreMem(asm.R8, 8, asm.R0, asm.DWord),
		asm.Ja.Label("tell"),
	)
	w.label("first")
	w.add(
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, atEntry+8, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, atEntry, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, w.m.told),
	)
	key()
	w.add(
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, atEntry),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
	)
	w.label("tell")
	w.add(
		asm.LoadMapPtr(asm.R1, w.m.events),
		asm.Mov.Imm(asm.R2, eventSize),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "deny"),
		asm.Mov.Reg(asm.R9, asm.R0),
	)
	for _, c := range []struct {
		to, from int16
		size     asm.Size
	}{
		{eventPort, atPort, asm.Word},
		{eventUID, atUID, asm.Word},
		{eventInode, atInode, asm.DWord},
		{eventDevice, atDevice, asm.Word},
	} {
		w.add(asm.LoadMem(asm.R1, asm.RFP, c.from, c.size), asm.StoreMem(asm.R9, c.to, asm.R1, c.size))
	}
	w.tellProcess(space)
	w.tellExe()
	w.label("submit")
	w.add(
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRingbufSubmit.Call(),
	)
	w.label("deny")
	w.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
}

// tellProcess tells the name of the process and its number in a namespace.
func (w *writer) tellProcess(space uint32) {
	w.task()
	w.add(
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.Add.Imm(asm.R1, eventComm),
		asm.Mov.Imm(asm.R2, commLength),
		asm.Mov.Reg(asm.R3, asm.R7),
		asm.Add.Imm(asm.R3, w.f.taskComm),
		asm.FnProbeReadKernel.Call(),
		asm.StoreImm(asm.R9, eventPID, 0, asm.Word),
	)
	w.follow(w.f.taskLeader, w.f.taskPID)
	w.read(atEntry, 4, w.f.pidLevel)
	for i := range int32(maxSpaces) {
		other, at := w.fresh("space"), w.f.pidNumbers+i*w.f.pidSize
		w.add(
			asm.LoadMem(asm.R1, asm.RFP, atEntry, asm.Word),
			asm.JLT.Imm(asm.R1, i, "noprocess"),
			asm.Mov.Reg(asm.R8, asm.R7),
		)
		w.read(atSuffix, 4, at)
		w.follow(at + w.f.pidSpace)
		w.read(atState, 4, w.f.spaceNumber)
		w.add(
			asm.Mov.Reg(asm.R7, asm.R8),
			asm.LoadMem(asm.R1, asm.RFP, atState, asm.Word),
			asm.JNE.Imm32(asm.R1, int32(space), other),
			asm.LoadMem(asm.R1, asm.RFP, atSuffix, asm.Word),
			asm.StoreMem(asm.R9, eventPID, asm.R1, asm.Word),
			asm.Ja.Label("noprocess"),
		)
		w.label(other)
	}
	w.label("noprocess")
}

// tellExe tells the names on the way from the executable to the root of its file
// system.
func (w *writer) tellExe() {
	for i := range int16(maxNames + 1) {
		w.add(zero(asm.R9, eventNames+i*eventName)...)
	}
	w.task()
	w.follow(w.f.taskMM, w.f.mmExe, w.f.fileDentry)
	for i := range int32(maxNames + 1) {
		w.add(asm.JEq.Imm(asm.R7, 0, "submit"))
		w.read(atSuffix, 8, w.f.dentryParent)
		w.read(atLength, 8, w.f.dentryName)
		w.add(
			asm.Mov.Reg(asm.R1, asm.R9),
			asm.Add.Imm(asm.R1, eventNames+i*eventName),
			asm.Mov.Imm(asm.R2, eventName),
			asm.LoadMem(asm.R3, asm.RFP, atLength, asm.DWord),
			asm.FnProbeReadKernelStr.Call(),
			asm.LoadMem(asm.R8, asm.RFP, atSuffix, asm.DWord),
			asm.JEq.Reg(asm.R8, asm.R7, "submit"),
			asm.Mov.Reg(asm.R7, asm.R8),
		)
	}
}
