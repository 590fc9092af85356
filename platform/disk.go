package platform

// DiskFree returns how many bytes an ordinary program could still write to the
// file system that holds path.
func DiskFree(path string) (uint64, error) { return diskFree(path) }
