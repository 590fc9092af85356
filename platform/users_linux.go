package platform

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

func userID(name string) (uint32, error) {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return 0, fmt.Errorf("look up user %s: %w", name, err)
	}
	return idInPasswd(data, name)
}

// idInPasswd finds the number of a user in /etc/passwd.
func idInPasswd(data []byte, name string) (uint32, error) {
	for line := range bytes.Lines(data) {
		f := bytes.SplitN(line, []byte(":"), 4)
		if len(f) < 4 || string(f[0]) != name {
			continue
		}
		uid, err := strconv.ParseUint(string(f[2]), 10, 32)
		if err != nil {
			return 0, fmt.Errorf("number of user %s in /etc/passwd: %w", name, err)
		}
		return uint32(uid), nil
	}
	return 0, fmt.Errorf("there is no user %s in /etc/passwd", name)
}
