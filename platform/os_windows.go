package platform

import "fmt"

// readOS reads the release of a system. Windows keeps it in the registry, which
// is not read yet.
func readOS(string) (OS, error) {
	return OS{}, fmt.Errorf("read Windows release: %w", ErrUnsupported)
}
