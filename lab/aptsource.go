//go:build linux

package lab

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// source is where this machine gets Debian from.
type source struct {
	uri   string
	suite string // codename of a release
}

// aptSource asks apt for the machine's own source of a Debian release; bookworm
// if it has several.
func aptSource() (source, error) {
	out, err := exec.Command("apt-get", "indextargets", "--format",
		"$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return source{}, fmt.Errorf("ask apt for its sources: %w", err)
	}
	return pickSource(string(out))
}

// pickSource chooses among lines of ORIGIN|COMPONENT|CODENAME|URI.
func pickSource(lines string) (source, error) {
	var found []source
	for line := range strings.Lines(lines) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 4 || f[0] != "Debian" || f[1] != "main" || strings.Contains(f[2], "-") {
			continue // not Debian, or updates and backports of a release
		}
		found = append(found, source{uri: f[3], suite: f[2]})
	}
	if len(found) == 0 {
		return source{}, errors.New("find a Debian release in this machine's apt sources: there is none (is apt-get update needed?)")
	}
	if i := slices.IndexFunc(found, func(s source) bool { return s.suite == "bookworm" }); i >= 0 {
		return found[i], nil
	}
	return found[0], nil
}

// signedBy finds the paths of keys that a source names, in both of apt's forms.
var signedBy = regexp.MustCompile(`(?i)signed-by\s*[:=]\s*(/[^\s\]]+)`)

// writeKeyring writes all keys that apt trusts on this machine to one file that
// debootstrap can use. Armoured keys are unwrapped.
func writeKeyring(name string) error {
	files := []string{"/usr/share/keyrings/debian-archive-keyring.gpg", "/etc/apt/trusted.gpg"}
	for _, pattern := range []string{"/etc/apt/trusted.gpg.d/*.gpg", "/etc/apt/trusted.gpg.d/*.asc"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		files = append(files, matches...)
	}
	lists, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		return err
	}
	for _, list := range append(lists, "/etc/apt/sources.list") {
		text, _ := os.ReadFile(list)
		for _, match := range signedBy.FindAllSubmatch(text, -1) {
			files = append(files, string(match[1]))
		}
	}
	slices.Sort(files)
	var ring []byte
	for _, file := range slices.Compact(files) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // named, but not installed: apt does without as well
		}
		ring = append(ring, unarmoured(text)...)
	}
	if len(ring) == 0 {
		return errors.New("find apt's keys: there are none")
	}
	return os.WriteFile(name, ring, 0o644)
}

// unarmoured returns the packets of a key file: OpenPGP, RFC 9580 section 6. A
// file that is neither armoured nor packets has none.
func unarmoured(text []byte) []byte {
	if len(text) > 0 && text[0]&0x80 != 0 {
		return text
	}
	var packets, block []byte
	inside, body := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "-----BEGIN PGP"):
			inside, body, block = true, false, nil
		case strings.HasPrefix(line, "-----END PGP"):
			if raw, err := base64.StdEncoding.DecodeString(string(block)); err == nil {
				packets = append(packets, raw...)
			}
			inside = false
		case inside && line == "":
			body = true // the headers end here
		case inside && body && !strings.HasPrefix(line, "="): // = begins the checksum
			block = append(block, line...)
		}
	}
	return packets
}

// aptEnvironment returns the environment in which debootstrap's downloads take
// the same way as apt's: its proxies, and its passwords in home/.netrc.
func aptEnvironment(home string) ([]string, error) {
	env := os.Environ()
	for option, variable := range map[string]string{
		"Acquire::http::Proxy":  "http_proxy",
		"Acquire::https::Proxy": "https_proxy",
	} {
		out, err := exec.Command("apt-config", "dump", "--format", "%v", option).Output()
		if err != nil {
			return nil, fmt.Errorf("ask apt for %s: %w", option, err)
		}
		if proxy := strings.TrimSpace(string(out)); proxy != "" && proxy != "DIRECT" {
			env = append(env, variable+"="+proxy)
		}
	}
	files, err := filepath.Glob("/etc/apt/auth.conf.d/*.conf")
	if err != nil {
		return nil, err
	}
	var logins []byte
	for _, file := range append(files, "/etc/apt/auth.conf") {
		text, _ := os.ReadFile(file)
		logins = append(logins, text...)
	}
	if len(logins) == 0 {
		return env, nil
	}
	if err := os.WriteFile(filepath.Join(home, ".netrc"), netrc(logins), 0o600); err != nil {
		return nil, fmt.Errorf("write passwords: %w", err)
	}
	return append(env, "HOME="+home), nil
}

// machine matches the host in apt_auth.conf(5), which unlike netrc may have a
// scheme before and a path after it.
var machine = regexp.MustCompile(`(?m)\bmachine\s+(?:[a-z+]+://)?([^\s/]+)\S*`)

func netrc(auth []byte) []byte { return machine.ReplaceAll(auth, []byte("machine $1")) }
