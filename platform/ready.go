package platform

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// TellReady tells the service manager that started this program that it is
// ready, by the protocol of sd_notify(3). Without a service manager that wants
// to know it does nothing.
func TellReady() error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	if abstract, ok := strings.CutPrefix(socket, "@"); ok {
		socket = "\x00" + abstract
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell service manager: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("tell service manager: %w", err)
	}
	return nil
}
