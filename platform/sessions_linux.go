package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readSessions tells who is logged in: by utmp, or by systemd's own notes where
// the distribution has given utmp up.
func readSessions() ([]Session, error) {
	data, err := os.ReadFile("/run/utmp")
	if errors.Is(err, fs.ErrNotExist) {
		return readLogindSessions("/run/systemd/sessions")
	}
	if err != nil {
		return nil, fmt.Errorf("read logins: %w", err)
	}
	var found []Session
	for _, l := range parseUtmp(data) {
		// Whoever ends without saying so leaves an entry behind.
		if _, err := os.Stat("/proc/" + strconv.Itoa(l.pid)); err == nil {
			found = append(found, l.Session)
		}
	}
	return found, nil
}

// readLogindSessions reads the files that systemd-logind keeps, one a session.
func readLogindSessions(dir string) ([]Session, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("this system keeps no record of logins: it has neither /run/utmp nor systemd-logind")
	}
	if err != nil {
		return nil, fmt.Errorf("read logins: %w", err)
	}
	var found []Session
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue // such as ID.ref, a pipe that would never end
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			continue // ended since the folder was listed
		}
		if s, ok := parseLogindSession(string(data)); ok {
			found = append(found, s)
		}
	}
	return found, nil
}

// parseLogindSession reads one file of systemd-logind. Sessions of services and
// of the login screen are not those of a person.
func parseLogindSession(text string) (Session, bool) {
	vars := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			vars[name] = printable(strings.Trim(value, `"`))
		}
	}
	s := Session{User: vars["USER"], Terminal: vars["TTY"], Remote: vars["REMOTE_HOST"]}
	return s, s.User != "" && vars["CLASS"] == "user" && vars["STATE"] != "closing"
}
