package platform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openProcess opens a process for looking at it. ErrGone is one that ended.
func openProcess(pid int, access uint32) (windows.Handle, error) {
	h, err := windows.OpenProcess(access, false, uint32(pid))
	switch {
	case errors.Is(err, windows.ERROR_INVALID_PARAMETER):
		return 0, fmt.Errorf("open process %d: %w", pid, ErrGone)
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return 0, fmt.Errorf("open process %d: %w", pid, ErrNotPermitted)
	case err != nil:
		return 0, fmt.Errorf("open process %d: %w", pid, err)
	}
	return h, nil
}

// startOf is when a process began, in units of 100 ns since 1601: with it a pid is
// an identity.
func startOf(h windows.Handle) (uint64, error) {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return 0, fmt.Errorf("ask when process began: %w", err)
	}
	return uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime), nil
}

// exeOf is the path of what a process runs.
func exeOf(h windows.Handle) (string, error) {
	path := make([]uint16, windows.MAX_LONG_PATH)
	n := uint32(len(path))
	if err := windows.QueryFullProcessImageName(h, 0, &path[0], &n); err != nil {
		return "", fmt.Errorf("ask what process runs: %w", err)
	}
	return windows.UTF16ToString(path[:n]), nil
}

// userOf is the account that a process runs as: "NT AUTHORITY\SYSTEM".
func userOf(h windows.Handle) (string, error) {
	var token windows.Token
	if err := windows.OpenProcessToken(h, windows.TOKEN_QUERY, &token); err != nil {
		return "", fmt.Errorf("ask who runs process: %w", err)
	}
	defer token.Close()
	user, err := token.GetTokenUser()
	if err != nil {
		return "", fmt.Errorf("ask who runs process: %w", err)
	}
	name, domain, _, err := user.User.Sid.LookupAccount("")
	if err != nil {
		return user.User.Sid.String(), nil
	}
	return domain + `\` + name, nil
}

// ownerOf fills in what can be told of the process that holds a socket. What may
// not be seen stays empty.
func ownerOf(pid int, services map[int][]string) (Owner, error) {
	o := Owner{PID: pid, PIDs: []int{pid}}
	if names := services[pid]; len(names) == 1 {
		o.Unit = names[0]
	}
	h, err := openProcess(pid, windows.PROCESS_QUERY_LIMITED_INFORMATION)
	if err != nil {
		return o, err
	}
	defer windows.CloseHandle(h)
	if o.Start, err = startOf(h); err != nil {
		return o, err
	}
	if o.Exe, err = exeOf(h); err != nil {
		return o, err
	}
	o.Process = filepath.Base(o.Exe)
	if _, err := os.Stat(o.Exe); errors.Is(err, os.ErrNotExist) {
		o.ExeDeleted = true
	}
	if o.User, err = userOf(h); errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return o, nil // a protected process tells nobody
	}
	return o, err
}

// servicesByPID asks which services run in which process: several in one that
// shares itself out, as svchost did on small hosts.
func servicesByPID() (map[int][]string, error) {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return nil, fmt.Errorf("open service manager: %w", err)
	}
	defer windows.CloseServiceHandle(manager)
	size := uint32(64 << 10)
	for range 8 {
		list := make([]byte, size)
		var needed, n, resume uint32
		err := windows.EnumServicesStatusEx(manager, windows.SC_ENUM_PROCESS_INFO, windows.SERVICE_WIN32, windows.SERVICE_ACTIVE,
			&list[0], size, &needed, &n, &resume, nil)
		if errors.Is(err, windows.ERROR_MORE_DATA) {
			size += needed + 4<<10
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list services: %w", err)
		}
		all := map[int][]string{}
		if n == 0 {
			return all, nil
		}
		for _, s := range unsafe.Slice((*windows.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(&list[0])), n) {
			pid := int(s.ServiceStatusProcess.ProcessId)
			all[pid] = append(all[pid], windows.UTF16PtrToString(s.ServiceName))
		}
		return all, nil
	}
	return nil, errors.New("list services: the list grows faster than it is read")
}
