package platform

import (
	"context"
	"fmt"
	"time"
)

func endService(context.Context, string, time.Duration) (bool, error) {
	return false, fmt.Errorf("end service: %w", ErrUnsupported)
}

func findService(context.Context, string) (Service, error) {
	return Service{}, fmt.Errorf("ask for service: %w", ErrUnsupported)
}
