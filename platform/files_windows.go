package platform

import (
	"context"
	"fmt"
)

// winFiles are the files of a Windows host.
type winFiles struct{}

func newFiles() Files { return winFiles{} }

func (winFiles) Facts(context.Context, int, string) (FileFacts, error) {
	return FileFacts{}, fmt.Errorf("hash file: %w", ErrUnsupported)
}

func (winFiles) Read(context.Context, string, int64) ([]byte, error) {
	return nil, fmt.Errorf("read file: %w", ErrUnsupported)
}
