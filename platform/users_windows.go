package platform

import "fmt"

func userID(name string) (uint32, error) {
	return 0, fmt.Errorf("user %s has no number: %w", name, ErrUnsupported)
}
