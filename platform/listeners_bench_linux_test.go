package platform

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gopsutil "github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/bpf"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// The bars that BenchmarkListeners holds the reading of listeners to.
const (
	benchListeners = 20
	benchHolders   = 5     // processes that share the sockets evenly
	mostHeld       = 8_000 // connections of one process, which may not have many more files

	minOverGopsutil = 500.0 // times less CPU, owners known
	minOverSS       = 300.0
	minOverPortlist = 50.0
	minColdOverSS   = 1.0 // times faster, owners looked for
	maxSlope        = 1.5 // times the cost on an idle host

	maxPoll     = 150 * time.Microsecond // CPU time; one a second is 0.015 % of a core
	maxPerSpace = time.Millisecond
)

// benchHost is a host to be read.
type benchHost struct{ connections, processes, spaces int }

// The hosts: the one that readings are compared on, and those between which a
// reading may not cost much more.
var (
	busyHost   = benchHost{10_000, 2000, 30}
	quietHosts = []benchHost{{0, 100, 0}, {100_000, 100, 0}, {0, 2000, 0}, {100_000, 2000, 0}}
)

// benchRole is set in the processes that BenchmarkListeners makes of itself.
const benchRole = "FIREBREAK_BENCH_ROLE"

// BenchmarkListeners compares one reading of all listeners, owners included, with
// gopsutil, ss and the portlist of tailscale, on a busy host: in a new network
// namespace with 10,000 established connections, with 2,000 processes, 30 more
// namespaces and 20 listeners. Costs are CPU time, the least of many readings; the
// cold reading, in which nothing is known yet, is compared by the clock as well.
// Then it reads hosts of other sizes, between which the cost may hardly differ. It
// fails where a bar is missed.
func BenchmarkListeners(b *testing.B) {
	switch role, _, _ := strings.Cut(os.Getenv(benchRole), " "); role {
	case "hold":
		holdBenchSockets(b)
		return
	case "compare":
		compareReadings(b)
		return
	case "size":
		sizeReading(b)
		return
	}
	if os.Geteuid() != 0 {
		b.Skip("makes a network namespace and looks into other users' processes: needs root")
	}
	if _, err := exec.LookPath("ss"); err != nil {
		b.Skip("compares with ss, which is not installed (package iproute2)")
	}
	benchInside(b, "compare")
	var least, most float64
	for _, h := range quietHosts {
		took := benchInside(b, fmt.Sprintf("size %d %d %d", h.connections, h.processes, h.spaces))["reading-ms"]
		fmt.Printf("| %-34s | %10.3f |\n", fmt.Sprintf("%d connections, %d processes", h.connections, h.processes), took)
		if least == 0 || took < least {
			least = took
		}
		most = max(most, took)
	}
	b.ReportMetric(most/least, "slope")
	if most > maxSlope*least {
		b.Errorf("a reading took %.3f to %.3f ms; want at most %.1f times as much", least, most, maxSlope)
	}
	b.ReportMetric(0, "ns/op") // the ratios are the result
}

// benchInside carries out a role in a new network namespace, and returns the
// metrics that it told.
func benchInside(b *testing.B, role string) map[string]float64 {
	b.Helper()
	cmd := benchProcess(role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	told := map[string]float64{}
	for line := range strings.Lines(string(out)) {
		var name string
		var value float64
		if n, _ := fmt.Sscanf(line, "metric %s %g", &name, &value); n == 2 {
			told[name] = value
			b.ReportMetric(value, name)
		} else if strings.HasPrefix(line, "|") {
			fmt.Print(line)
		}
	}
	if err != nil {
		b.Fatalf("%s, in a new network namespace: %v\n%s", role, err, out)
	}
	return told
}

func benchProcess(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$", "-test.bench=^BenchmarkListeners$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), benchRole+"="+role)
	return cmd
}

// populate makes the host that is to be read.
func populate(b *testing.B, h benchHost) {
	if err := loopbackUp(); err != nil {
		b.Fatal(err)
	}
	for range benchHolders {
		startBenchHolder(b, min(h.connections/benchHolders, mostHeld), benchListeners/benchHolders)
	}
	for left := h.connections - benchHolders*mostHeld; left > 0; left -= mostHeld {
		startBenchHolder(b, min(left, mostHeld), 0)
	}
	for i := range h.processes {
		cmd := exec.Command("sleep", "infinity")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if i < h.spaces {
			cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
	}
}

// settle reads until the processes of the new host count as old ones.
func settle(b *testing.B, r *listenerReader) {
	for began := time.Now(); time.Since(began) < youngFor+time.Second; time.Sleep(500 * time.Millisecond) {
		readBench(b, r)
	}
}

// sizeReading tells what a reading costs on a host of the size that the role
// names.
func sizeReading(b *testing.B) {
	var h benchHost
	if _, err := fmt.Sscanf(os.Getenv(benchRole), "size %d %d %d", &h.connections, &h.processes, &h.spaces); err != nil {
		b.Fatal(err)
	}
	populate(b, h)
	r := newToldReader(b)
	settle(b, r)
	fmt.Printf("metric reading-ms %g\n", ms(leastCPU(1000, func() { readBench(b, r) })))
}

// compareReadings measures what is compared on the busy host.
func compareReadings(b *testing.B) {
	populate(b, busyHost)
	warm := newToldReader(b)
	checkBenchReading(b, warm)
	settle(b, warm)
	t := readingTimes{
		steady: leastCPU(1000, func() { readBench(b, warm) }),
		allocs: testing.AllocsPerRun(100, func() { readBench(b, warm) }),
		spaces: len(warm.others.open) + 1,
	}
	t.sockets = leastCPU(1000, func() { readSockets(b, warm) })
	watch := listenerWatch{diag: warm.diag, udp: warm.udp}
	t.poll = leastCPU(1000, func() {
		if _, err := watch.poll(); err != nil {
			b.Fatal(err)
		}
	})
	t.cold = measure(unix.RUSAGE_SELF, 7, 1, func() {
		r := newBenchReader(b)
		defer r.close()
		r.others.confined = true // as ss is
		readBench(b, r)
	})
	t.ss = measure(unix.RUSAGE_CHILDREN, 7, 1, func() {
		if err := exec.Command("ss", "-H", "-lntup").Run(); err != nil {
			b.Fatal(err)
		}
	})
	t.gopsutil = measure(unix.RUSAGE_SELF, 3, 1, func() {
		if _, err := gopsutil.Connections("inet"); err != nil {
			b.Fatal(err)
		}
	})
	t.portlist = portlistPoll(b)
	t.report(b)
}

// readSockets reads the sockets of every namespace, and no owners.
func readSockets(b *testing.B, r *listenerReader) {
	all, err := r.diag.Read(r.all[:0])
	if err == nil {
		all, err = r.others.read(all, time.Now(), 0)
	}
	r.all = all
	if err != nil {
		b.Fatal(err)
	}
}

// portlistPoll is the least CPU time of a poll of tailscale's portlist; 0 if it
// cannot be built, as where there is no Go.
func portlistPoll(b *testing.B) time.Duration {
	peer := filepath.Join(b.TempDir(), "portlist")
	build := exec.Command("go", "build", "-o", peer, ".")
	build.Dir = "testdata/portlist"
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("| portlist is not compared: %v: %s\n", err, bytes.ReplaceAll(out, []byte("\n"), []byte(" ")))
		return 0
	}
	out, err := exec.Command(peer, "50").Output()
	if err != nil {
		b.Fatal(err)
	}
	took, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(took)
}

// readingTimes are what was measured.
type readingTimes struct {
	poll, sockets, steady, portlist time.Duration // CPU
	cold, ss, gopsutil              cost
	allocs                          float64 // in a steady reading
	spaces                          int
}

// report prints what was measured, and fails where a bar is missed.
func (t readingTimes) report(b *testing.B) {
	fmt.Printf("| %-34s | %10s | %10s |\n", fmt.Sprintf("%d ports, %d connections", benchListeners, busyHost.connections), "CPU ms", "wall ms")
	for _, r := range []struct {
		name string
		cost
	}{
		{"poll for events", cost{cpu: t.poll}},
		{fmt.Sprintf("sockets of %d namespaces", t.spaces), cost{cpu: t.sockets}},
		{"steady, owners known", cost{cpu: t.steady}},
		{"cold, owners looked for", t.cold},
		{"tailscale portlist, steady", cost{cpu: t.portlist}},
		{"ss -H -lntup", t.ss},
		{"gopsutil v3 Connections", t.gopsutil},
	} {
		wall := ""
		if r.wall > 0 {
			wall = fmt.Sprintf("%10.3f", ms(r.wall))
		}
		fmt.Printf("| %-34s | %10.3f | %10s |\n", r.name, ms(r.cpu), wall)
	}
	bars := []struct {
		metric    string
		got, want float64
	}{
		{"gopsutil/steady", float64(t.gopsutil.cpu) / float64(t.steady), minOverGopsutil},
		{"ss/steady", float64(t.ss.cpu) / float64(t.steady), minOverSS},
		{"ss/cold-cpu", float64(t.ss.cpu) / float64(t.cold.cpu), minColdOverSS},
		{"ss/cold-wall", float64(t.ss.wall) / float64(t.cold.wall), minColdOverSS},
	}
	if t.portlist > 0 {
		bars = append(bars, struct {
			metric    string
			got, want float64
		}{"portlist/steady", float64(t.portlist) / float64(t.steady), minOverPortlist})
	}
	for _, bar := range bars {
		fmt.Printf("| %-34s | %9.1fx | %9.0fx | the least it may be\n", bar.metric, bar.got, bar.want)
		fmt.Printf("metric %s %g\n", bar.metric, bar.got)
	}
	fmt.Printf("metric allocs/reading %g\n", t.allocs)
	for _, bar := range bars {
		if bar.got < bar.want {
			b.Errorf("%s: got %.1f; want at least %.0f", bar.metric, bar.got, bar.want)
		}
	}
	if t.poll > maxPoll {
		b.Errorf("a poll took %v of CPU; want at most %v", t.poll, maxPoll)
	}
	if most := time.Duration(t.spaces) * maxPerSpace; t.sockets > most {
		b.Errorf("the sockets of %d namespaces took %v of CPU; want at most %v", t.spaces, t.sockets, most)
	}
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// cost is what one reading took.
type cost struct{ cpu, wall time.Duration }

// leastCPU returns the least CPU time of n runs of f, over some seconds: a machine
// that is shared runs faster and slower by the second.
func leastCPU(n int, f func()) time.Duration {
	f()
	least := time.Hour
	for range n {
		time.Sleep(5 * time.Millisecond)
		before := processTime()
		f()
		least = min(least, processTime()-before)
	}
	return least
}

// processTime is the CPU time of this process so far.
func processTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// measure runs f in rounds of n and returns the median round's cost of one run.
func measure(who, rounds, n int, f func()) cost {
	f()
	cpu, wall := make([]time.Duration, rounds), make([]time.Duration, rounds)
	for i := range rounds {
		began, used := time.Now(), cpuTime(who)
		for range n {
			f()
		}
		wall[i], cpu[i] = time.Since(began)/time.Duration(n), (cpuTime(who)-used)/time.Duration(n)
	}
	slices.Sort(cpu)
	slices.Sort(wall)
	return cost{max(cpu[rounds/2], time.Microsecond), wall[rounds/2]}
}

func cpuTime(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func newBenchReader(b *testing.B) *listenerReader {
	r, err := newListenerReader()
	if err != nil {
		b.Fatal(err)
	}
	r.others.confined = false // it is, to the namespace of the benchmark
	return r
}

// newToldReader returns a reader to which the kernel tells of changes, as it does
// to the agent.
func newToldReader(b *testing.B) *listenerReader {
	r, news := newBenchReader(b), &sockets.News{}
	r.heed(news, bpf.ThisKernel())
	at, err := bpf.Here()
	if err != nil {
		b.Fatal(err)
	}
	ports, err := openPorts(bpf.ThisKernel(), at)
	if err != nil {
		b.Fatal(err)
	}
	own, err := sockets.Open()
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l := &listenerWatch{diag: own, udp: newUDPServices(), news: news}
		watchPorts(ctx, ports, l, func(Part, string) {})
	}()
	b.Cleanup(func() {
		stop()
		<-ended
	})
	return r
}

func readBench(b *testing.B, r *listenerReader) []Listener {
	found, _, err := r.read(b.Context(), true)
	found = slices.DeleteFunc(found, func(l Listener) bool { return l.NetNS != "" })
	if err != nil || len(found) != benchListeners {
		b.Fatalf("got %d listeners, error %v; want %d", len(found), err, benchListeners)
	}
	return found
}

func checkBenchReading(b *testing.B, r *listenerReader) {
	owners := map[int]bool{}
	for _, l := range readBench(b, r) {
		if l.Owner.PID == 0 || l.Owner.Exe == "" || l.Owner.User != "root" {
			b.Fatalf("got owner %+v of port %d; want all of it", l.Owner, l.Port)
		}
		owners[l.Owner.PID] = true
	}
	if len(owners) != benchHolders {
		b.Fatalf("got %d owners; want %d", len(owners), benchHolders)
	}
}

// startBenchHolder starts a process with its share of the sockets, and waits
// until it has them all. It ends with the benchmark.
func startBenchHolder(b *testing.B, connections, listeners int) {
	cmd := benchProcess(fmt.Sprint("hold ", connections, " ", listeners))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), "holding") {
			go io.Copy(io.Discard, stdout)
			return
		}
	}
	b.Fatal("a process that should hold sockets ended")
}

// holdBenchSockets makes one process's share of the sockets and keeps them until
// its standard input ends. The listeners come last, where a search of open files
// finds them last.
func holdBenchSockets(b *testing.B) {
	var connections, listeners int
	if _, err := fmt.Sscanf(os.Getenv(benchRole), "hold %d %d", &connections, &listeners); err != nil {
		b.Fatal(err)
	}
	accepting, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var kept []io.Closer
	for range connections {
		dialled, err := net.Dial("tcp4", accepting.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		accepted, err := accepting.Accept()
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, dialled, accepted)
	}
	accepting.Close()
	for range listeners {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, l)
	}
	fmt.Println("holding", len(kept))
	io.Copy(io.Discard, os.Stdin)
}

// loopbackUp starts the loopback interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
