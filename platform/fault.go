//go:build !faults

package platform

// FaultPoint names a place where the program may be killed by a test. In a
// normal build it is nothing.
func FaultPoint(string) {}
