package platform

import "fmt"

// TellReady tells the service manager that started this program that it is
// ready, by the protocol of sd_notify(3). Without a service manager that wants
// to know it does nothing.
func TellReady() error {
	if err := notifyManager("READY=1"); err != nil {
		return fmt.Errorf("tell service manager: %w", err)
	}
	return nil
}
