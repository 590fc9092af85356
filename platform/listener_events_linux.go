package platform

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/bpf"
)

// openPorts lets the kernel tell of the ports of this host.
func openPorts(k bpf.Kernel, at bpf.Place) (*bpf.Ports, error) {
	root, err := findGroupRoot()
	if err != nil {
		return nil, err
	}
	return bpf.OpenPorts(k, at, root)
}

func listenerEvents() string {
	err := tryPorts()
	if err == nil {
		return ""
	}
	lockdown, _ := os.ReadFile("/sys/kernel/security/lockdown") // not there: none
	return whyNoEvents(err, string(lockdown))
}

func tryPorts() error {
	at, err := bpf.Here()
	if err != nil {
		return err
	}
	ports, err := openPorts(bpf.ThisKernel(), at)
	if err != nil {
		return err
	}
	return ports.Close()
}

// whyNoEvents says why the kernel does not tell of ports, by what it answered and
// the text of its file lockdown.
func whyNoEvents(err error, lockdown string) string {
	switch {
	case errors.Is(err, errNoGroups):
		return errNoGroups.Error()
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if strings.Contains(lockdown, "[confidentiality]") {
			return "the kernel is locked down (confidentiality)"
		}
		return "the kernel does not let this program load others into it (CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed)"
	case errors.Is(err, bpf.ErrRing):
		return "this kernel is too old (5.8 or later is needed)"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ebpf.ErrNotSupported):
		return "this kernel neither describes its types (BTF) nor shows its tracepoints (tracefs)"
	}
	return err.Error()
}
