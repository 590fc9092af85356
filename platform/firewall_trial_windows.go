package platform

import (
	"context"
	"fmt"
)

func lacking(context.Context, Isolation) ([]string, error) {
	return nil, fmt.Errorf("try an isolation: Windows Filtering Platform: %w", ErrUnsupported)
}
