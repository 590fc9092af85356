package bpf

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"
)

// owner finds out who binds: user, executable, and the unit if one passes.
func (w *writer) owner(groups [][]Pass, root uint64) {
	w.add(
		asm.FnGetCurrentUidGid.Call(),
		asm.StoreMem(asm.RFP, atUID, asm.R0, asm.Word),
		asm.StoreImm(asm.RFP, atUnit, 0, asm.Word),
	)
	w.add(zero(asm.RFP, atExe)...)
	w.task()
	w.follow(w.f.taskMM, w.f.mmExe)
	w.add(asm.Mov.Reg(asm.R8, asm.R7))
	w.follow(w.f.fileInode)
	w.read(atInode, 8, w.f.inodeNumber)
	w.follow(w.f.inodeSuper)
	w.read(atDevice, 4, w.f.superDevice)
	if asks(groups, func(p Pass) bool { return p.Exe != nil }) {
		w.add(asm.Mov.Reg(asm.R7, asm.R8))
		w.exe()
	}
	if asks(groups, func(p Pass) bool { return p.Unit != "" }) {
		w.unit(root)
	}
}

func asks(groups [][]Pass, what func(Pass) bool) bool {
	for _, g := range groups {
		for _, p := range g {
			if what(p) {
				return true
			}
		}
	}
	return false
}

// name reads the name that R7 has at an offset, and makes it a key of the map of
// names. R0 is its length with its end.
func (w *writer) name(offset int32) {
	for at := atName; at < atState; at += 8 {
		w.add(zero(asm.RFP, int16(at))...)
	}
	w.read(atLength, 8, offset)
	w.add(
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, atName),
		asm.Mov.Imm(asm.R2, nameLength),
		asm.LoadMem(asm.R3, asm.RFP, atLength, asm.DWord),
		asm.FnProbeReadKernelStr.Call(),
	)
}

// lookUp looks the name up in a state, and leaves where it leads to in R0.
func (w *writer) lookUp(missing string) {
	w.add(
		asm.LoadMapPtr(asm.R1, w.m.names),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, atName),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, missing),
		asm.LoadMem(asm.R0, asm.R0, 0, asm.Word),
	)
}

// exe follows the path of the executable, whose file R7 is, up to the root of its
// file system.
func (w *writer) exe() {
	done := w.fresh("exe")
	w.follow(w.f.fileDentry)
	w.add(zero(asm.RFP, atState)...)
	for range maxNames + 1 {
		root := w.fresh("root")
		w.add(asm.JEq.Imm(asm.R7, 0, done))
		w.read(atSuffix, 8, w.f.dentryParent)
		w.add(
			asm.LoadMem(asm.R8, asm.RFP, atSuffix, asm.DWord),
			asm.JEq.Reg(asm.R8, asm.R7, root),
		)
		w.name(w.f.dentryName)
		w.lookUp(done)
		w.add(
			asm.StoreMem(asm.RFP, atState, asm.R0, asm.Word),
			asm.Mov.Reg(asm.R7, asm.R8),
		)
		more := w.fresh("up")
		w.add(asm.Ja.Label(more))
		w.label(root)
		for at := atName; at < atState; at += 8 {
			w.add(zero(asm.RFP, int16(at))...)
		}
		w.lookUp(done)
		w.add(
			asm.StoreMem(asm.RFP, atExe, asm.R0, asm.Word),
			asm.Ja.Label(done),
		)
		w.label(more)
	}
	w.label(done)
}

// unit finds the unit of the calling process: a control group with the name of
// one, with nothing but slices above it up to the root of the host. What is below
// a service or a session may belong to somebody who could give it any name.
func (w *writer) unit(root uint64) {
	done, none := w.fresh("unit"), w.fresh("nounit")
	w.task()
	w.follow(w.f.taskGroups, w.f.setGroup, w.f.groupNode)
	w.add(asm.Mov.Imm(asm.R8, 0))
	for range maxNames {
		other, up := w.fresh("other"), w.fresh("up")
		w.add(asm.JEq.Imm(asm.R7, 0, none))
		w.read(atSuffix, 8, w.f.nodeID)
		w.add(
			asm.LoadMem(asm.R1, asm.RFP, atSuffix, asm.DWord),
			asm.LoadImm(asm.R2, int64(root), asm.DWord),
			asm.JEq.Reg(asm.R1, asm.R2, done),
		)
		w.name(w.f.nodeName)
		w.add(
			asm.StoreMem(asm.RFP, atEntry, asm.R0, asm.DWord),
			asm.Mov.Imm32(asm.R1, -1), // unitState
			asm.StoreMem(asm.RFP, atState, asm.R1, asm.DWord),
		)
		w.lookUp(other)
		w.add(asm.Mov.Reg(asm.R8, asm.R0), asm.Ja.Label(up))
		w.label(other)
		w.add(asm.JEq.Imm(asm.R8, 0, up))
		w.mustBeSlice(up)
		w.label(up)
		w.follow(w.f.nodeParent)
	}
	w.label(none)
	w.add(asm.Mov.Imm(asm.R8, 0))
	w.label(done)
	w.add(asm.StoreMem(asm.RFP, atUnit, asm.R8, asm.Word))
}

// mustBeSlice forgets the unit that was found unless the name that was read last
// is a slice's. Its length is in the place of an entry, its address in that of a
// length.
func (w *writer) mustBeSlice(yes string) {
	no := w.fresh("noslice")
	w.add(
		asm.LoadMem(asm.R1, asm.RFP, atEntry, asm.DWord),
		asm.JSLT.Imm(asm.R1, int32(len(sliceEnd)), no),
		asm.LoadMem(asm.R3, asm.RFP, atLength, asm.DWord),
		asm.Add.Reg(asm.R3, asm.R1),
		asm.Sub.Imm(asm.R3, int32(len(sliceEnd))),
	)
	w.add(zero(asm.RFP, atSuffix)...)
	w.add(
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, atSuffix),
		asm.Mov.Imm(asm.R2, int32(len(sliceEnd))),
		asm.FnProbeReadKernel.Call(),
		asm.LoadMem(asm.R1, asm.RFP, atSuffix, asm.DWord),
		asm.LoadImm(asm.R2, int64(binary.NativeEndian.Uint64([]byte(sliceEnd+"\x00"))), asm.DWord),
		asm.JEq.Reg(asm.R1, asm.R2, yes),
	)
	w.label(no)
	w.add(asm.Mov.Imm(asm.R8, 0))
}

// sliceEnd is how the name of a slice ends.
const sliceEnd = ".slice\x00"
