package platform

import "context"

// Lacking says in sentences what an isolation could not do on this system, as
// Standing does of one that is in force. The kernel is given the parts of it one
// by one, to check and to throw away: nothing is put in force.
func Lacking(ctx context.Context, iso Isolation) ([]string, error) { return lacking(ctx, iso) }
