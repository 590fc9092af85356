package platform

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// readLogins returns the services beside files that user accounts come from.
func readLogins() ([]string, error) {
	// A distribution's own file is in /usr/etc where /etc is for the
	// administrator alone; without any file glibc takes files.
	for _, name := range []string{"/etc/nsswitch.conf", "/usr/etc/nsswitch.conf"} {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found := parseLogins(string(data))
		if !hasSSSD() {
			found = slices.DeleteFunc(found, func(s string) bool { return s == "sss" })
		}
		return found, nil
	}
	return nil, nil
}

// hasSSSD tells whether SSSD has anything to serve: Fedora and its like name it in
// nsswitch.conf on every host.
func hasSSSD() bool {
	if _, err := os.Stat("/etc/sssd/sssd.conf"); !errors.Is(err, fs.ErrNotExist) {
		return true
	}
	parts, _ := filepath.Glob("/etc/sssd/conf.d/*.conf")
	return len(parts) > 0
}

// parseLogins reads the line for users out of nsswitch.conf and leaves out the
// services that need no network.
func parseLogins(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		services, ok := strings.CutPrefix(strings.TrimSpace(line), "passwd:")
		if !ok {
			continue
		}
		for _, s := range strings.Fields(services) {
			if strings.HasPrefix(s, "[") || strings.HasSuffix(s, "]") || slices.Contains(found, s) {
				continue // what to do after a service: "[NOTFOUND=return]"
			}
			switch s {
			case "files", "compat", "db", "systemd", "mymachines", "altfiles", "usrfiles", "extrausers", "cache":
			default:
				found = append(found, printable(s))
			}
		}
	}
	return found
}
