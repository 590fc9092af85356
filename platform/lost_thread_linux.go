package platform

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onLostThread runs f on a thread that ends with it, so that f may change what
// belongs to a thread (its user, its namespaces) and need not change it back. The
// first thread of a process cannot end, and is taken by all tools for the whole
// process: if the scheduler offers it, it is held until f has run on another.
func onLostThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			onLostThread(f)
			return
		}
		f()
	}()
	<-done
}
