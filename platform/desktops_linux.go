package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

const (
	// desktopTimeout is how long all desktops together may take.
	desktopTimeout = time.Second
	// maxDesktops is how many users are told at the same time.
	maxDesktops = 64
	// maxBusAnswer is how many bytes a user's bus may send. It runs as that user,
	// who may have put anything in its place.
	maxBusAnswer = 64 << 10
)

// desktops shows texts on the desktops of who is logged in: as notifications
// (org.freedesktop.Notifications) over the session bus of each user.
type desktops struct {
	run      string // the folder with one folder for each user
	sessions string // the notes of systemd-logind

	mu   sync.Mutex
	busy map[uint32]bool // users whose bus still keeps an earlier text waiting
}

func newDesktops() *desktops {
	return &desktops{run: "/run/user", sessions: "/run/systemd/sessions", busy: map[uint32]bool{}}
}

// show tells the users and returns those whose desktop took the text. Whoever
// has none, or is too slow, is not told, which is no error.
func (d *desktops) show(ctx context.Context, text string) []uint32 {
	ctx, cancel := context.WithTimeout(ctx, desktopTimeout)
	defer cancel()
	users := d.users()
	done := make(chan uint32, len(users))
	waiting := 0
	for _, u := range users {
		if !d.begin(u.uid) {
			continue
		}
		waiting++
		go func() {
			err := u.tell(ctx, text)
			d.end(u.uid)
			if err != nil {
				u.uid = nobodyTold
			}
			done <- u.uid
		}()
	}
	var told []uint32
	for range waiting {
		select {
		case uid := <-done:
			if uid != nobodyTold {
				told = append(told, uid)
			}
		case <-ctx.Done():
			return told
		}
	}
	return told
}

// nobodyTold is no user: the kernel keeps the number free (it is -1).
const nobodyTold = ^uint32(0)

// begin is false while an earlier text is still on its way: a user who lets the
// agent wait for ever (with a file system of his own, say) costs one thread.
func (d *desktops) begin(uid uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[uid] {
		return false
	}
	d.busy[uid] = true
	return true
}

func (d *desktops) end(uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, uid)
}

// desktop is a user with a session bus.
type desktop struct {
	uid       uint32
	bus       string // path of its socket
	graphical bool   // has a session with a screen
}

// users lists who may have a desktop. Login screens have, and are nobody's.
func (d *desktops) users() []desktop {
	folders, err := os.ReadDir(d.run)
	if err != nil {
		return nil
	}
	graphical, greeters := screens(d.sessions)
	var found []desktop
	for _, f := range folders {
		uid, err := strconv.ParseUint(f.Name(), 10, 32)
		if err != nil || greeters[uint32(uid)] || len(found) == maxDesktops {
			continue
		}
		found = append(found, desktop{uint32(uid), filepath.Join(d.run, f.Name(), "bus"), graphical[uint32(uid)]})
	}
	return found
}

// screens reads from the notes of systemd-logind who has a session with a screen,
// and who is the user of a login screen.
func screens(dir string) (graphical, greeters map[uint32]bool) {
	graphical, greeters = map[uint32]bool{}, map[uint32]bool{}
	files, _ := os.ReadDir(dir) // without logind nobody is known to have one
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue // such as ID.ref, a pipe that would never end
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			continue // ended since the folder was listed
		}
		vars := map[string]string{}
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			vars[name] = value
		}
		uid, err := strconv.ParseUint(vars["UID"], 10, 32)
		switch {
		case err != nil:
		case vars["CLASS"] == "greeter":
			greeters[uint32(uid)] = true
		case slices.Contains([]string{"x11", "wayland", "mir"}, vars["TYPE"]):
			graphical[uint32(uid)] = true
		}
	}
	return graphical, greeters
}

// tell shows the text on one desktop.
func (u desktop) tell(ctx context.Context, text string) error {
	line, err := u.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to session bus: %w", err)
	}
	bus, err := godbus.NewConn(&limited{line, maxBusAnswer}, godbus.WithContext(ctx))
	if err != nil {
		line.Close()
		return fmt.Errorf("talk to session bus: %w", err)
	}
	defer bus.Close()
	if err := bus.Auth([]godbus.Auth{godbus.AuthExternal(strconv.FormatUint(uint64(u.uid), 10))}); err != nil {
		return fmt.Errorf("log in to session bus: %w", err)
	}
	if err := bus.Hello(); err != nil {
		return fmt.Errorf("greet session bus: %w", err)
	}
	// A program that shows notifications is started only where there is a screen:
	// services of a user have a bus too.
	var flags godbus.Flags
	if !u.graphical {
		flags = godbus.FlagNoAutoStart
	}
	summary, body := notification(text)
	const critical, never = byte(2), int32(0) // stays until it is closed
	call := bus.Object("org.freedesktop.Notifications", "/org/freedesktop/Notifications").CallWithContext(ctx,
		"org.freedesktop.Notifications.Notify", flags,
		"Firebreak", uint32(0), "dialog-warning", summary, body, []string{},
		map[string]godbus.Variant{"urgency": godbus.MakeVariant(critical)}, never)
	if call.Err != nil {
		return fmt.Errorf("show notification: %w", call.Err)
	}
	return nil
}

// notification parts a text into the heading of a notification and its body, in
// which desktops take a few signs for markup.
func notification(text string) (summary, body string) {
	summary, body, _ = strings.Cut(strings.Trim(text, "\n"), "\n")
	lines := strings.Split(body, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return printable(summary), strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.Join(lines, "\n"))
}

// connect opens the user's bus.
func (u desktop) connect(ctx context.Context) (net.Conn, error) { return dialAs(ctx, u.uid, u.bus) }

// dialAs opens a socket of a user as that user: the bus takes nobody else, root
// included, and a link that the user put there leads no further than the user
// could go. Only the effective user is changed, so that the user may neither
// signal nor trace the agent.
func dialAs(ctx context.Context, uid uint32, path string) (net.Conn, error) {
	var line net.Conn
	var err error
	onLostThread(func() {
		if int(uid) != os.Geteuid() {
			if err = becomeUser(uid); err != nil {
				return
			}
		}
		line, err = dialUnix(path)
	})
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return line, line.SetDeadline(deadline)
}

// becomeUser gives the calling thread another effective user, and no group that
// means anything.
func becomeUser(uid uint32) error {
	const same, noGroup = ^uintptr(0), 65534
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, same, noGroup, same},
		{unix.SYS_SETRESUID, same, uintptr(uid), same},
	} {
		// The calls of package syscall would change every thread.
		if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return fmt.Errorf("become user %d: %w", uid, errno)
		}
	}
	return nil
}

// dialUnix connects from the calling thread, which net.Dial does not promise. A
// bus that takes no more connections is not waited for.
func dialUnix(path string) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() // FileConn has one of its own
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// limited ends a connection that sends more than it should.
type limited struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("too long an answer")

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooMuch
	}
	n, err := l.Conn.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}
