package platform

import "context"

// FileFacts is what identifies a file to an investigator.
type FileFacts struct {
	Path    string `json:"path"`
	SHA256  string `json:"sha256"` // lower-case hex
	Size    int64  `json:"size"`
	Mode    string `json:"mode"` // as ls shows it
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	ModTime string `json:"mod_time"`
	Package string `json:"package"` // "samba 2:4.17.12", or ""
}

// Files reads files on behalf of evidence. It follows no symbolic link in the
// last element of a path and opens nothing but regular files.
type Files interface {
	// Facts hashes the file that a process runs (pid > 0: read through
	// /proc/PID/exe, so that a deleted file is hashed too) or the file at path.
	Facts(ctx context.Context, pid int, path string) (FileFacts, error)
	// Read returns at most limit bytes of a regular file.
	Read(ctx context.Context, path string, limit int64) ([]byte, error)
}
