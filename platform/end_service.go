package platform

import (
	"context"
	"time"
)

// Service is a service as the service manager runs it.
type Service struct {
	Running   bool     // or about to: between two runs too
	MainPID   int      // 0: no process
	Arguments []string // it is started with, after its program
}

// FindService returns a service; ErrGone if there is no such one.
func FindService(ctx context.Context, name string) (Service, error) { return findService(ctx, name) }

// EndService stops a service, whatever state it is in: hung, restarting, failed.
// After grace its main process is killed, which killed tells. The service
// manager then lets go of what it kept for it (StoreSocket).
func EndService(ctx context.Context, name string, grace time.Duration) (killed bool, err error) {
	return endService(ctx, name, grace)
}
