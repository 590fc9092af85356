package platform

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/sys/unix"
)

// notifier tells people by what there is: terminals, desktops, and the texts that
// are shown at a login.
type notifier struct {
	terminals terminals
	desktops  *desktops
	banner    banner
}

func newNotifier() Notifier {
	return notifier{terminals{dev: "/dev", sessions: readSessions}, newDesktops(), banner{}}
}

// Notify writes to the terminals first: they never make anybody wait.
func (n notifier) Notify(ctx context.Context, text string) ([]string, error) {
	told, err := n.terminals.Notify(ctx, text)
	var users userNames
	users.refresh()
	for _, uid := range n.desktops.show(ctx, text) {
		told = append(told, users.name(uid))
	}
	slices.Sort(told)
	if told = slices.Compact(told); len(told) > 0 {
		err = nil // by one way or the other
	}
	return told, err
}

func (n notifier) Banner(_ context.Context, text string) error {
	if text == "" {
		if err := n.banner.take(); err != nil {
			return fmt.Errorf("take away login banner: %w", err)
		}
		return nil
	}
	if err := n.banner.put(text); err != nil {
		return fmt.Errorf("put up login banner: %w", err)
	}
	return nil
}

// terminals shows texts on the terminals of who is logged in.
type terminals struct {
	dev      string // the folder they are in
	sessions func() ([]Session, error)
}

func (n terminals) Notify(ctx context.Context, text string) ([]string, error) {
	open, err := n.open()
	if err != nil {
		return nil, err
	}
	message := notice(text)
	var told []string
	for _, t := range open {
		if err := ctx.Err(); err != nil {
			return told, err
		}
		if n.show(t.line, message) && !slices.Contains(told, t.user) {
			told = append(told, t.user)
		}
	}
	slices.Sort(told)
	return told, nil
}

// terminal is one on which somebody is logged in.
type terminal struct{ line, user string }

// open lists the terminals in use: those of sessions, and the pseudo terminals of
// who is not root, for hosts on which logins are noted nowhere any more.
func (n terminals) open() ([]terminal, error) {
	var all []terminal
	sessions, err := n.sessions()
	for _, s := range sessions {
		if isTerminal(s.Terminal) {
			all = append(all, terminal{s.Terminal, s.User})
		}
	}
	pts, listErr := filepath.Glob(filepath.Join(n.dev, "pts", "[0-9]*"))
	if err != nil && (listErr != nil || len(pts) == 0) {
		return nil, fmt.Errorf("find terminals: %w", err)
	}
	var users userNames
	users.refresh()
	for _, path := range pts {
		line := "pts/" + filepath.Base(path)
		var stat syscall.Stat_t
		if slices.ContainsFunc(all, func(t terminal) bool { return t.line == line }) || syscall.Stat(path, &stat) != nil || stat.Uid == 0 {
			continue
		}
		all = append(all, terminal{line, users.name(stat.Uid)})
	}
	return all, nil
}

// notice frames the text for a terminal, with nothing in it that would steer it.
func notice(text string) []byte {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return []byte("\r\n" + strings.Join(lines, "\r\n") + "\r\n")
}

// isTerminal tells whether a line names a terminal below /dev and nothing else
// there: "pts/0", "tty1".
func isTerminal(line string) bool {
	if number, ok := strings.CutPrefix(line, "pts/"); ok {
		_, err := strconv.ParseUint(number, 10, 31)
		return err == nil
	}
	name, ok := strings.CutPrefix(line, "tty")
	return ok && name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsDigit(r) && !unicode.IsLetter(r) })
}

// show writes to a terminal without ever waiting for it: one that is stopped,
// or whose user does not read, takes less or nothing. It must not become the
// agent's own terminal.
func (n terminals) show(line string, message []byte) bool {
	fd, err := unix.Open(filepath.Join(n.dev, line), unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	written, err := unix.Write(fd, message)
	return err == nil && written > 0
}
