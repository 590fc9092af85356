package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// stopWait is how long the threads of a process may take to stop. One that is in
// the kernel, such as for a disk that does not answer, does so when it returns.
const stopWait = 200 * time.Millisecond

// Freeze traces the process: the kernel lets go of what is traced when the thread
// ends that traces it, so nothing stays frozen whatever becomes of the agent. A
// signal to stop would have to be taken back by somebody.
func (procProcesses) Freeze(ctx context.Context, id ProcessID) (thaw func(), err error) {
	if id.PID <= 1 || id.PID == os.Getpid() {
		return nil, fmt.Errorf("freeze process %d: the agent never stops that one: %w", id.PID, ErrNotPermitted)
	}
	frozen, release, over := make(chan error), make(chan struct{}), make(chan struct{})
	go onPassingThread(func() {
		defer close(over)
		err := holdStill(ctx, id)
		frozen <- err
		if err == nil {
			<-release
		}
	})
	if err := <-frozen; err != nil {
		return nil, fmt.Errorf("freeze process %d: %w", id.PID, err)
	}
	return func() {
		close(release)
		<-over
	}, nil
}

// onPassingThread calls f on a thread that ends with it. The first thread of a
// program never does, so while that one has the turn another takes it.
func onPassingThread(f func()) {
	runtime.LockOSThread() // never unlocked: that is what ends the thread
	if unix.Gettid() != os.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
	runtime.UnlockOSThread()
}

// holdStill stops every thread of the process, those too that are made meanwhile.
func holdStill(ctx context.Context, id ProcessID) error {
	if start, err := startOf(id.PID); err != nil {
		return err
	} else if start != id.Start {
		return ErrGone
	}
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	stopped := map[int]bool{}
	for {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", id.PID))
		if err != nil || len(threads) == 0 {
			return ErrGone
		}
		still := true
		for _, path := range threads {
			tid, err := strconv.Atoi(filepath.Base(path))
			if err != nil || stopped[tid] {
				continue
			}
			still = false
			if err := stopThread(ctx, tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			stopped[tid] = true
		}
		if still {
			return nil
		}
	}
}

// stopThread stops one thread by PTRACE_SEIZE and PTRACE_INTERRUPT, which the
// program itself does not notice, see ptrace(2).
func stopThread(ctx context.Context, tid int) error {
	if err := unix.PtraceSeize(tid); err != nil {
		return fmt.Errorf("trace thread %d: %w", tid, err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return fmt.Errorf("stop thread %d: %w", tid, err)
	}
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for thread %d: %w", tid, err)
		case got == tid && status.Stopped():
			return nil
		case got == tid:
			return unix.ESRCH // it ended
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("thread %d does not stop: %w", tid, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}
