package sockets

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOwnersOfSharedPort(t *testing.T) {
	requireProc(t)
	first := reusable(t, 0)
	port := portOf(first)
	second := reusable(t, port)
	a, b := sleepWith(t, first), sleepWith(t, second)
	first.Close()
	second.Close()
	o := newOwners(t)
	var pids []int
	for _, s := range update(t, o) {
		if s.Protocol == TCP && s.Port == port {
			pids = append(pids, pidsOf(t, o, s)...)
		}
	}
	slices.Sort(pids)
	if want := sortedPIDs(a, b); !slices.Equal(pids, want) {
		t.Errorf("got holders %v; want %v, one of each socket", pids, want)
	}
}

func TestOwnersFollowsHolders(t *testing.T) {
	requireProc(t)
	file := reusable(t, 0)
	port := portOf(file)
	parent := sleepWith(t, file)
	o := newOwners(t)
	socket := only(t, update(t, o), TCP, port)
	if got, want := pidsOf(t, o, socket), sortedPIDs(os.Getpid(), parent); !slices.Equal(got, want) {
		t.Fatalf("got holders %v; want %v", got, want)
	}
	worker := sleepWith(t, file)
	update(t, o)
	if got, want := pidsOf(t, o, socket), sortedPIDs(os.Getpid(), parent, worker); !slices.Equal(got, want) {
		t.Errorf("with a new process: got holders %v; want %v", got, want)
	}
	file.Close()
	stop(t, parent)
	update(t, o)
	if got, want := pidsOf(t, o, socket), []int{worker}; !slices.Equal(got, want) {
		t.Errorf("when two let go: got holders %v; want %v", got, want)
	}
	heir := stolen(t, worker) // by this process, which was looked into long ago
	stop(t, worker)
	update(t, o)
	if got, want := pidsOf(t, o, socket), []int{os.Getpid()}; !slices.Equal(got, want) {
		t.Errorf("when all known ones let go: got holders %v; want %v", got, want)
	}
	heir.Close()
	if slices.ContainsFunc(update(t, o), func(s Socket) bool { return s.Cookie == socket.Cookie }) {
		t.Fatal("the socket is still there; want it gone with its last holder")
	}
	if o.Knows(socket.Cookie) {
		t.Error("the memory still knows the socket; want it forgotten")
	}
}

func TestOwnersLookAfreshNowAndThen(t *testing.T) {
	requireProc(t)
	file := reusable(t, 0)
	port := portOf(file)
	child := sleepWith(t, file)
	file.Close()
	o := newOwners(t)
	socket := only(t, update(t, o), TCP, port)
	stolen(t, child)
	update(t, o)
	if got := pidsOf(t, o, socket); !slices.Equal(got, []int{child}) {
		t.Fatalf("got holders %v; want %d: this process is not new, so nobody looks into it again", got, child)
	}
	o.started = o.started.Add(-time.Hour)
	update(t, o)
	if got, want := pidsOf(t, o, socket), sortedPIDs(os.Getpid(), child); !slices.Equal(got, want) {
		t.Errorf("got holders %v after an hour; want %v", got, want)
	}
}

func TestOwnersSeeThatAPIDIsUsedAgain(t *testing.T) {
	open(t, "tcp4", "127.0.0.1:0", nil)
	o := newOwners(t)
	update(t, o)
	for i := range o.everyone.processes {
		if p := &o.everyone.processes[i]; int(p.pid) == os.Getpid() {
			p.inode++ // as if another process had had the pid then
		}
	}
	if err := o.enumerate(o.everyone); err != nil {
		t.Fatal(err)
	}
	for _, p := range o.everyone.processes {
		if mine := int(p.pid) == os.Getpid(); mine && p.searched {
			t.Error("a process with the pid of an earlier one counts as looked into; want it looked into")
		}
	}
}

func TestOwnersTellNobodyFromHidden(t *testing.T) {
	const noFile, unheld = 1, 2
	all := []Socket{{Cookie: noFile}, {Cookie: unheld, Inode: 1 << 33}} // no inode is that large
	for _, sees := range []bool{true, false} {
		o := newOwners(t)
		o.seesAll = sees
		if err := o.Update(all); err != nil {
			t.Fatal(err)
		}
		if _, got := o.Holders(noFile); got != Nobody {
			t.Errorf("a socket without a file: got %q; want %q", got, Nobody)
		}
		want := Hidden
		if sees && !o.everyone.hidden {
			want = Nobody
		}
		if _, got := o.Holders(unheld); got != want {
			t.Errorf("a socket without a process, all processes in sight %v: got %q; want %q", sees, got, want)
		}
	}
}

func TestOwnersAreGuidedByControlGroups(t *testing.T) {
	o := newOwners(t)
	if os.Geteuid() != 0 || o.cgroups.mount < 0 {
		t.Skip("makes a control group: needs root and a version 2 hierarchy")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cgroup2Mount(mounts), "firebreak-test-")
	if err != nil {
		t.Skipf("makes a control group, which is refused here: %v", err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	pid, port := listenIn(t, dir)
	socket := only(t, update(t, o), TCP, port)
	if got := pidsOf(t, o, socket); !slices.Equal(got, []int{pid}) {
		t.Fatalf("got holders %v; want %d", got, pid)
	}
	g := o.groups[socket.Cgroup]
	if g == nil || len(g.processes) != 1 {
		t.Fatalf("got search in %+v; want one in the control group's only process", g)
	}
	if err := os.WriteFile("/proc/self/fd/"+strconv.Itoa(o.cgroups.mount)+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
	o2 := newOwners(t)
	update(t, o2)
	if got := pidsOf(t, o2, socket); !slices.Equal(got, []int{pid}) {
		t.Errorf("holder in another control group: got %v; want %d", got, pid)
	}
	update(t, o)
	if got := pidsOf(t, o, socket); !slices.Equal(got, []int{pid}) {
		t.Errorf("holder that moved away: got %v; want %d", got, pid)
	}
}

func newOwners(t *testing.T) *Owners {
	t.Helper()
	o, err := NewOwners()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func update(t *testing.T, o *Owners) []Socket {
	t.Helper()
	all := read(t)
	if err := o.Update(all); err != nil {
		t.Fatal(err)
	}
	return all
}

func pidsOf(t *testing.T, o *Owners, s Socket) []int {
	t.Helper()
	holders, holding := o.Holders(s.Cookie)
	if (holding == Held) != (len(holders) > 0) {
		t.Errorf("got %q with %d holders", holding, len(holders))
	}
	var pids []int
	for _, h := range holders {
		pids = append(pids, h.PID)
	}
	return pids
}

func sortedPIDs(pids ...int) []int { slices.Sort(pids); return pids }

// reusable opens a listening socket with SO_REUSEPORT on 127.0.0.1.
func reusable(t *testing.T, port uint16) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	t.Cleanup(func() { file.Close() })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	return file
}

func portOf(file *os.File) uint16 {
	name, err := unix.Getsockname(int(file.Fd()))
	if err != nil {
		return 0
	}
	return uint16(name.(*unix.SockaddrInet4).Port)
}

var running = map[int]*exec.Cmd{}

// sleepWith starts a process that holds a file and does nothing.
func sleepWith(t *testing.T, file *os.File) int {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	running[cmd.Process.Pid] = cmd
	t.Cleanup(func() { stop(t, cmd.Process.Pid) })
	return cmd.Process.Pid
}

// stolen takes the socket that sleepWith gave to another process: such a holder
// no search could have seen coming.
func stolen(t *testing.T, from int) *os.File {
	t.Helper()
	pidfd, err := unix.PidfdOpen(from, 0)
	if err != nil {
		t.Skipf("takes a socket of another process: %v", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 3, 0)
	if err != nil {
		t.Skipf("takes a socket of another process: %v", err)
	}
	file := os.NewFile(uintptr(fd), "stolen")
	t.Cleanup(func() { file.Close() })
	return file
}

func stop(t *testing.T, pid int) {
	t.Helper()
	if cmd := running[pid]; cmd != nil {
		delete(running, pid)
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// listenIn starts a process that listens, in a control group of its own.
func listenIn(t *testing.T, dir string) (pid int, port uint16) {
	t.Helper()
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	exe, err := filepath.EvalSymlinks("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), listenRole+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
		for range 50 { // the kernel empties the group a little after the process
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 16)
	if err != nil {
		t.Fatalf("listening process said %q", line)
	}
	return cmd.Process.Pid, uint16(n)
}

func requireProc(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("sleep"); err != nil {
		t.Skip("starts processes that hold sockets: needs the command sleep")
	}
}
