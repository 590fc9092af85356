package platform

import (
	"context"
	"fmt"
)

// connections is not written yet, and says so.
type connections struct{}

func newConnections() Connections { return connections{} }

func (connections) Live(context.Context, Isolation) ([]Connection, error) {
	return nil, fmt.Errorf("list connections: %w", ErrUnsupported)
}

func (connections) Cut(context.Context, Isolation) (Cut, error) {
	return Cut{}, fmt.Errorf("end connections: %w", ErrUnsupported)
}
