package platform

import "fmt"

func diskFree(string) (uint64, error) { return 0, fmt.Errorf("free space: %w", ErrUnsupported) }
