package platform

import (
	"context"
	"fmt"
	"time"
)

// winProcesses are the processes of a Windows host.
type winProcesses struct{}

func newProcesses() Processes { return winProcesses{} }

func (winProcesses) Inspect(context.Context, int) (Process, error) {
	return Process{}, fmt.Errorf("inspect process: %w", ErrUnsupported)
}

func (winProcesses) Children(context.Context, int) ([]int, error) {
	return nil, fmt.Errorf("list children of process: %w", ErrUnsupported)
}

func (winProcesses) End(context.Context, ProcessID, time.Duration) error {
	return fmt.Errorf("end process: %w", ErrUnsupported)
}
