package bpf

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// fields are where this kernel keeps what the program reads, in bytes from the
// beginning of each structure.
type fields struct {
	taskComm, taskMM, taskLeader, taskPID, taskGroups int32

	mmExe, fileInode, fileDentry            int32
	inodeNumber, inodeSuper, superDevice    int32
	dentryName, dentryParent                int32
	setGroup, groupNode                     int32
	nodeName, nodeParent, nodeID            int32
	pidLevel, pidNumbers, pidSize, pidSpace int32
	spaceNumber                             int32
}

// readFields asks the kernel's own description of its types.
func readFields() (fields, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return fields{}, fmt.Errorf("read the types of the kernel: %w", err)
	}
	var f fields
	for _, want := range []struct {
		to   *int32
		of   string
		path []string // each may be one of several names, the kernel's of today first
	}{
		{&f.taskComm, "task_struct", []string{"comm"}},
		{&f.taskMM, "task_struct", []string{"mm"}},
		{&f.taskLeader, "task_struct", []string{"group_leader"}},
		{&f.taskPID, "task_struct", []string{"thread_pid"}},
		{&f.taskGroups, "task_struct", []string{"cgroups"}},
		{&f.mmExe, "mm_struct", []string{"exe_file"}},
		{&f.fileInode, "file", []string{"f_inode"}},
		{&f.fileDentry, "file", []string{"f_path", "dentry"}},
		{&f.inodeNumber, "inode", []string{"i_ino"}},
		{&f.inodeSuper, "inode", []string{"i_sb"}},
		{&f.superDevice, "super_block", []string{"s_dev"}},
		{&f.dentryName, "dentry", []string{"d_name", "name"}},
		{&f.dentryParent, "dentry", []string{"d_parent"}},
		{&f.setGroup, "css_set", []string{"dfl_cgrp"}},
		{&f.groupNode, "cgroup", []string{"kn"}},
		{&f.nodeName, "kernfs_node", []string{"name"}},
		{&f.nodeParent, "kernfs_node", []string{"__parent|parent"}},
		{&f.nodeID, "kernfs_node", []string{"id"}},
		{&f.pidLevel, "pid", []string{"level"}},
		{&f.pidNumbers, "pid", []string{"numbers"}},
		{&f.pidSpace, "upid", []string{"ns"}},
		{&f.spaceNumber, "pid_namespace", []string{"ns", "inum"}},
	} {
		var s *btf.Struct
		if err := spec.TypeByName(want.of, &s); err != nil {
			return fields{}, fmt.Errorf("read the types of the kernel: struct %s: %w", want.of, err)
		}
		offset, ok := offsetOf(s, want.path)
		if !ok {
			return fields{}, fmt.Errorf("read the types of the kernel: struct %s has no %v", want.of, want.path)
		}
		*want.to = int32(offset)
	}
	var upid *btf.Struct
	if err := spec.TypeByName("upid", &upid); err != nil {
		return fields{}, fmt.Errorf("read the types of the kernel: struct upid: %w", err)
	}
	f.pidSize = int32(upid.Size)
	return f, nil
}
