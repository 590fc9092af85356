package platform

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/windows/registry"
)

// currentVersion is where Windows keeps what it is. The 64-bit view is asked for,
// whatever this program is.
const currentVersion = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`

// readOS reads the release of this host; another one's files say nothing of it.
func readOS(root string) (OS, error) {
	if root != "" {
		return OS{}, fmt.Errorf("read Windows release below %s: %w", root, ErrUnsupported)
	}
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, currentVersion, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return OS{}, fmt.Errorf("read Windows release: %w", err)
	}
	defer k.Close()
	r := windowsRelease{Arch: runtime.GOARCH}
	for name, into := range map[string]*string{
		"CurrentBuild": &r.Build, "DisplayVersion": &r.DisplayVersion, "EditionID": &r.Edition,
		"InstallationType": &r.Installation, "ProductName": &r.Product,
	} {
		if *into, _, err = k.GetStringValue(name); err != nil && !errors.Is(err, registry.ErrNotExist) {
			return OS{}, fmt.Errorf("read Windows release: %s: %w", name, err)
		}
	}
	if r.Revision, _, err = k.GetIntegerValue("UBR"); err != nil && !errors.Is(err, registry.ErrNotExist) {
		return OS{}, fmt.Errorf("read Windows release: UBR: %w", err)
	}
	return r.os()
}
