package platform

import (
	"os"

	"golang.org/x/sys/unix"
)

// notifyManager sends the service manager a message of sd_notify(3), with file
// descriptors if there are any. An address that begins with @ is an abstract one,
// for unix.Sendmsg too.
func notifyManager(message string, fds ...int) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(s, []byte(message), rights, &unix.SockaddrUnix{Name: address}, 0)
}
