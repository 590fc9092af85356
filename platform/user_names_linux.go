package platform

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// userNames gives the names of local users, straight from /etc/passwd: asking a
// directory server could take longer than a whole look.
type userNames struct {
	changed time.Time
	names   map[uint32]string
}

// refresh reads the file again if it was changed.
func (u *userNames) refresh() {
	info, err := os.Stat("/etc/passwd")
	if err != nil || info.ModTime().Equal(u.changed) {
		return
	}
	if data, err := os.ReadFile("/etc/passwd"); err == nil {
		u.changed, u.names = info.ModTime(), parsePasswd(data)
	}
}

// name returns the name of a user, or the number of one who has none here.
func (u *userNames) name(uid uint32) string {
	if name := u.names[uid]; name != "" {
		return name
	}
	return strconv.FormatUint(uint64(uid), 10)
}

// parsePasswd reads name and number of every line; the first name of a number
// counts.
func parsePasswd(data []byte) map[uint32]string {
	names := map[uint32]string{}
	for line := range bytes.Lines(data) {
		f := bytes.SplitN(line, []byte(":"), 4)
		if len(f) < 4 || len(f[0]) == 0 {
			continue
		}
		uid, err := strconv.ParseUint(string(f[2]), 10, 32)
		if err == nil && names[uint32(uid)] == "" {
			names[uint32(uid)] = string(f[0])
		}
	}
	return names
}
