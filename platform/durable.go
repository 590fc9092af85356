package platform

import (
	"errors"
	"os"
)

// ErrLocked says that another open file holds the lock.
var ErrLocked = errors.New("locked by another process")

// LockFile locks f for as long as it is open, without waiting: alone, or shared
// with others that lock it shared. ErrLocked says that somebody else has it. The
// lock belongs to the open file, not to the process: a second open file of the
// same process is somebody else. The lock ends with the process, however that
// ends.
func LockFile(f *os.File, alone bool) error { return lockFile(f, alone) }

// UnlockFile ends the lock of LockFile. Closing f does so too, unless f is still
// mapped into memory.
func UnlockFile(f *os.File) error { return unlockFile(f) }

// RenameDurably renames a file within its folder, replacing what has the new
// name, and returns when the new name would survive a power cut. The contents
// must have been synced before.
func RenameDurably(from, to string) error { return renameDurably(from, to) }

// SyncDir makes the names in a folder survive a power cut.
func SyncDir(dir string) error { return syncDir(dir) }
