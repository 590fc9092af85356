package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// banner keeps a text where the programs that log people in look for more to
// show: pam_motd after a login (console, ssh), agetty before one on a console.
// Nothing can be done for what sshd says before a login: its Banner is a setting
// of its own file.
type banner struct{ root string } // of the file system; "" is the host's

// Paths of the texts. What lasts no longer than the boot is below /run.
const (
	motdPath  = "/run/motd.d/60-firebreak"
	issuePath = "/run/issue.d/60-firebreak.issue"
	// linkedPath is where the text for agetty is where there is an /etc/issue: up
	// to util-linux 2.38 agetty then looks into /etc/issue.d alone, and later ones
	// show what they find there and in /run/issue.d twice. So linkPath is a link to
	// it, which after a crash of the host leads nowhere until it is removed.
	linkedPath = "/run/firebreak.issue"
	linkPath   = "/etc/issue.d/60-firebreak.issue"
	etcIssue   = "/etc/issue"
	// reloadPath is what "agetty --reload" touches: each agetty that waits for a
	// login shows its text anew.
	reloadPath = "/run/agetty.reload"
)

func (b banner) at(path string) string { return filepath.Join("/", b.root, path) }

// put shows the text from the next login on.
func (b banner) put(text string) error {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	plain := "\n" + strings.Join(lines, "\n") + "\n\n"
	// To agetty a backslash begins what it fills in: "\n" is the host's name.
	issue := strings.ReplaceAll(plain, `\`, `\\`)
	err := b.write(motdPath, plain)
	if linkErr := b.link(issue); linkErr != nil {
		err = errors.Join(err, b.write(issuePath, issue))
	} else {
		err = errors.Join(err, b.remove(issuePath))
	}
	b.reload()
	return err
}

// link puts the text for agetty where it looks for it beside /etc/issue; it is an
// error if there is none, or the folder cannot be written.
func (b banner) link(issue string) error {
	if _, err := os.Stat(b.at(etcIssue)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.at(linkPath)), 0o755); err != nil {
		return err
	}
	if to, err := os.Readlink(b.at(linkPath)); err != nil || to != b.at(linkedPath) {
		if err := errors.Join(b.remove(linkPath), os.Symlink(b.at(linkedPath), b.at(linkPath))); err != nil {
			return err
		}
	}
	return b.write(linkedPath, issue)
}

// take takes the text away.
func (b banner) take() error {
	err := errors.Join(b.remove(motdPath), b.remove(issuePath), b.remove(linkPath), b.remove(linkedPath))
	b.reload()
	return err
}

// write replaces the file as a whole; who reads it meanwhile sees the old one.
func (b banner) write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(b.at(path)), 0o755); err != nil {
		return err
	}
	// Not beside it: what lies there is shown, whatever its name.
	f, err := os.CreateTemp(b.at("/run"), ".firebreak-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when all went well
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), b.at(path))
}

func (b banner) remove(path string) error {
	if err := os.Remove(b.at(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// reload is a courtesy: without agetty there is no such file.
func (b banner) reload() {
	now := time.Now()
	_ = os.Chtimes(b.at(reloadPath), now, now)
}
