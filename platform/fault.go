//go:build !faults

package platform

// FaultPoint names a place where the program may be killed by a test. In a
// normal build it is nothing.
func FaultPoint(string) {}

// faultLacks tells whether a test wants the kernel taken for one that lacks an
// ability. In a normal build none does.
func faultLacks(string) bool { return false }
