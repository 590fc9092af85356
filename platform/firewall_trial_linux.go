package platform

import (
	"context"
	"errors"
	"fmt"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// lacking tries on a line of its own: the agent's, which owns its tables, is not
// touched.
func lacking(ctx context.Context, iso Isolation) (lacks []string, err error) {
	line, err := nft.Dial()
	if err != nil {
		return nil, fmt.Errorf("try an isolation: %w", explainNetfilter(err))
	}
	defer func() { err = errors.Join(err, line.Close()) }()
	can, err := findAbilities(ctx, line.Trial)
	if err != nil {
		return nil, fmt.Errorf("try an isolation: %w", explainNetfilter(err))
	}
	return can.lacks(iso), nil
}
